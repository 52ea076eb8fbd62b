"""VSI-Bench as it is published (``nyu-visionx/VSI-Bench``): its questions to rows, its zips to videos.

Rows hold the bare question and the options; evaluation adds the official prompts, or the paper's T, O and V.
"""

from __future__ import annotations

import errno
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.files import atomic_path, inside
from verl_vsi.data_adapters.importers.records import load_records
from verl_vsi.data_adapters.rows import make_row
from verl_vsi.data_adapters.schema import Question, Rejected
from verl_vsi.data_adapters.untrusted_text import visible

Subset = Literal["full", "debiased", "pruned"]

MOST_EXPANSION = 20
"""Times a member, or all of them, may grow when unpacked: videos hardly do, bombs do by a thousand."""

COLUMNS = ("id", "dataset", "scene_name", "question_type", "question", "ground_truth", "options")


def read_benchmark(path: str | Path) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """The records of ``test*.parquet`` or ``test.jsonl``, each after the words that name it.

    Yields:
        a `Rejected` in place of a line that is no record.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file, or lacks a column.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; download test.jsonl or a parquet file of nyu-visionx/VSI-Bench")
    for where, record in load_records(path):
        if not isinstance(record, Rejected):
            missing = [c for c in COLUMNS if c not in record]
            if missing:
                raise ValueError(f"{where}: column '{missing[0]}' is missing; it has {', '.join(record)}")
        yield where, record


def read_ids(path: str | Path) -> frozenset[int]:
    """The ids of ``pruned_ids.txt``.

    Raises:
        ValueError: a word of it is no number.
    """
    words = Path(path).read_text(encoding="utf-8", errors="replace").split()
    wrong = next((word for word in words if not (word.isascii() and word.isdigit() and len(word) < 10)), None)
    if wrong is not None:
        raise ValueError(f"{path}: '{wrong[:40]}' is no id of a question; give pruned_ids.txt of nyu-visionx/VSI-Bench")
    return frozenset(map(int, words))


def benchmark_rows(
    path: str | Path, subset: Subset = "full", pruned_ids: frozenset[int] | None = None
) -> Iterator[dict[str, Any] | Rejected]:
    """Rows of the benchmark, in its order.

    Args:
        path: see `read_benchmark`.
        subset: ``full``; ``debiased``: without the pruned questions; ``pruned``: only those.
        pruned_ids: from `read_ids`, for files without a ``pruned`` column.

    Raises:
        ValueError: a subset is wanted, and neither column nor ids say which rows are pruned.
    """
    for where, record in read_benchmark(path):
        if isinstance(record, Rejected):
            yield record
        elif subset == "full" or _is_pruned(record, pruned_ids, path) == (subset == "pruned"):
            yield _row(record, where)


def _is_pruned(record: Mapping[str, Any], ids: frozenset[int] | None, path: str | Path) -> bool:
    if ids is not None:
        return record["id"] in ids
    if "pruned" not in record:
        raise ValueError(f"{path}: no column 'pruned'; give pruned_ids.txt, or take test_debiased.parquet as it is")
    return bool(record["pruned"])


def _row(record: Mapping[str, Any], where: str) -> dict[str, Any] | Rejected:
    task, options = record["question_type"], record["options"]
    where = f"{where}, question {record['id']!r:.40}"
    if task not in schema.TASKS:
        return Rejected(where, "unknown task", f"'{task!r:.80}'; known are {', '.join(schema.TASKS)}")
    try:
        if not isinstance(options, list | None):
            raise ValueError(f"options must be a list of texts, got {options!r:.80}")
        scene, dataset = _word(record, "scene_name"), _word(record, "dataset")
        question = Question(
            task=task,
            text=record["question"],
            answer=_word(record, "ground_truth"),
            kind="number" if task in schema.NUMERIC else "choice",
            scene_id=scene,
            options=tuple(options or ()),
            trace={"rule": "vsibench", "id": record["id"]},
        )
        return make_row(question, dataset=dataset, video=f"{dataset}/{scene}.mp4", data_source="vsibench", split="test")
    except (TypeError, ValueError) as error:
        return Rejected(where, "cannot be scored", str(error))


def _word(record: Mapping[str, Any], column: str) -> str:
    value = record[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{column} must be a text, got {value!r:.80}")
    return str(value)


def count_videos(archive: str | Path) -> int:
    """How many videos a zip holds; see `extract_videos` for the errors."""
    with _open_zip(Path(archive)) as file:
        return len(_members(file))


def extract_videos(archive: str | Path, root: str | Path) -> Iterator[tuple[str, bool]]:
    """Unpack ``scannet.zip``, ``scannetpp.zip`` or ``arkitscenes.zip`` under the data root.

    Every video is whole or absent; those that are there with the right size are kept, so an interrupted call goes on.

    Args:
        archive: the zip.
        root: the data root; videos land in ``<root>/<dataset>/<scene>.mp4``.

    Yields:
        path relative to the root, and whether it was written now.

    Raises:
        ValueError: the zip is damaged, encrypted, unpacks to far more than it is, or a member would leave the root.
        OSError: the disk has no room for what it unpacks to.
    """
    archive, root = Path(archive), Path(root)
    with _open_zip(archive) as file:  # all members are looked at before one is written
        places = _places(file, archive)
        missing = {place: m for place, m in places.items() if not _is_there(inside(root, place), m)}
        _check_room(root, sum(member.file_size for member in missing.values()))
        for place, member in places.items():
            if place in missing:
                _extract(file, member, inside(root, place), archive)
            yield place, place in missing


def _places(file: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """Where each video goes, relative to the root."""
    places: dict[str, zipfile.ZipInfo] = {}
    for member in _members(file):
        place = _place(member, archive)
        if place in places:
            both = visible(f"'{places[place].filename}' and '{member.filename}' are both {place}")
            raise ValueError(f"{archive}: {both}; this is not VSI-Bench's zip")
        if member.flag_bits & 1:
            raise ValueError(
                f"{archive}: member '{visible(member.filename)}' is encrypted; download VSI-Bench's own zip"
            )
        _check_growth(archive, f"member '{visible(member.filename)}'", member.file_size, member.compress_size)
        places[place] = member
    if not places:
        raise ValueError(f"{archive}: holds no .mp4; give VSI-Bench's zip of videos")
    _check_growth(archive, "it", sum(m.file_size for m in places.values()), archive.stat().st_size)
    return places


def _check_growth(archive: Path, what: str, size: int, packed: int) -> None:
    if size > MOST_EXPANSION * packed + 2**20:
        limit = f"more than {MOST_EXPANSION} times what is packed"
        raise ValueError(f"{archive}: {what} would unpack from {packed} to {size} bytes, {limit}; that is no video")


def _check_room(root: Path, size: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    if size > (free := shutil.disk_usage(root).free):
        raise OSError(errno.ENOSPC, f"{size} bytes of videos are to be unpacked, {free} are free; make room", str(root))


def _is_there(target: Path, member: zipfile.ZipInfo) -> bool:
    """Whether the video was unpacked before, by its checksum."""
    if not target.is_file() or target.stat().st_size != member.file_size:
        return False
    checksum = 0
    with target.open("rb") as file:
        while chunk := file.read(2**20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == member.CRC


@contextmanager
def _open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    if not archive.is_file():
        raise FileNotFoundError(f"{archive}: no such file; download VSI-Bench's zips of videos")
    try:
        with zipfile.ZipFile(archive) as file:
            yield file
    except (zipfile.BadZipFile, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"{archive}: not a whole zip file ({error}); download it again") from error


def _members(file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Its videos; what a Mac adds beside each file is none."""
    videos = (m for m in file.infolist() if not m.is_dir() and m.filename.endswith(".mp4"))
    return [m for m in videos if not m.filename.rpartition("/")[2].startswith("._")]


def _place(member: zipfile.ZipInfo, archive: Path) -> str:
    """``<dataset>/<scene>.mp4``, whatever folders the zip has around it."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(
            f"{archive}: member '{visible(member.filename)}' would leave the data root; this is not VSI-Bench's zip"
        )
    return f"{path.parent.name or archive.stem}/{path.name}"


def _extract(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, archive: Path) -> None:
    with atomic_path(target) as temporary, temporary.open("wb") as sink:
        for chunk in _chunks(file, member, archive):
            sink.write(chunk)


def _chunks(file: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path) -> Iterator[bytes]:
    """A member's content, checked by its checksum; whatever its decompressor raises names the zip."""
    try:
        with file.open(member) as source:
            while chunk := source.read(2**20):
                yield chunk
    except Exception as error:
        raise ValueError(
            f"{archive}: not a whole zip file (member '{visible(member.filename)}': {error}); download it again"
        ) from error
