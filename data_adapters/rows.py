"""Questions as verl-shaped parquet rows, one file for every mode, with a fingerprint in the file's metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verl_vsi.data_adapters.files import atomic_path, relative
from verl_vsi.data_adapters.json_files import parse
from verl_vsi.data_adapters.limits import check_name
from verl_vsi.data_adapters.parquet_files import DAMAGE, batches
from verl_vsi.data_adapters.row_checks import check_question
from verl_vsi.data_adapters.schema import Question, Rejected, Scene
from verl_vsi.data_adapters.versions import installed_version

FINGERPRINT = b"vsi.fingerprint"
"""Key of the file metadata that says where the rows come from, as JSON."""

_TEXT = pa.string()
SCHEMA = pa.schema(
    {
        "data_source": _TEXT,
        "prompt": pa.list_(pa.struct({"role": _TEXT, "content": _TEXT})),
        "videos": pa.list_(_TEXT),
        "reward_model": pa.struct({"style": _TEXT, "ground_truth": _TEXT}),
        "extra_info": pa.struct(
            {
                "index": pa.int64(),
                "scene_id": _TEXT,
                "dataset": _TEXT,
                "task": _TEXT,
                "kind": _TEXT,
                "question": _TEXT,
                "options": pa.list_(_TEXT),
                "split": _TEXT,
                "trace": _TEXT,
            }
        ),
    }
)
"""Columns of every file of rows; ``videos`` are paths relative to ``vsi.root``."""

BATCH = 4096  # rows written at a time: memory stays bounded whatever the file's size


class ContentDigest:
    """The digest of content that a fingerprint holds: of each row as JSON with sorted keys, one after the other."""

    def __init__(self) -> None:
        """Of no rows."""
        self._sha256 = hashlib.sha256()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in the next row."""
        self._sha256.update(json.dumps(row, sort_keys=True, default=str).encode())

    def hexdigest(self) -> str:
        """Of all rows so far."""
        return self._sha256.hexdigest()


class NoRowsError(ValueError):
    """There was nothing to write."""


def make_row(
    question: Question,
    *,
    dataset: str,
    video: str,
    data_source: str,
    split: str,
    index: int = 0,
    extraction: str = "robust",
) -> dict[str, Any]:
    """One row as verl reads it.

    Args:
        question: what is asked, and the truth.
        dataset: ``scannet``, ``scannetpp``, ``arkitscenes`` or ``rooms``.
        video: path relative to the data root.
        data_source: ``vsi100k`` or ``vsibench``; the task is appended.
        split: ``train``, ``val`` or ``test``.
        index: the row's number in its file.
        extraction: the run's, by which the truth itself must score 1.

    Raises:
        ValueError: a question that no reward could score (see `row_checks.check_question`), or a path out of the root.
    """
    where = f"scene '{question.scene_id}', task {question.task}, question '{question.text}'"
    check_question(question, where, extraction)
    check_name(dataset, f"{where}: dataset")
    check_name(video, f"{where}: video")
    return {
        "data_source": f"{data_source}/{question.task}",
        "prompt": [{"role": "user", "content": f"<video>{question.text}"}],
        "videos": [relative(video, where)],
        "reward_model": {"style": "rule", "ground_truth": question.answer},
        "extra_info": {
            "index": index,
            "scene_id": question.scene_id,
            "dataset": dataset,
            "task": question.task,
            "kind": question.kind,
            "question": question.text,
            "options": list(question.options),
            "split": split,
            "trace": json.dumps(dict(question.trace)),
        },
    }


def rows_of(
    questions: Iterable[tuple[Question | Rejected, Scene]], *, data_source: str, split: str
) -> Iterator[dict[str, Any] | Rejected]:
    """Rows of built questions, each with its scene's video; a `Rejected` for one that no reward could score.

    Args:
        questions: with the scenes that they are about; a `Rejected` goes through.
        data_source: ``vsi100k`` or ``vsibench``.
        split: ``train``, ``val`` or ``test``.
    """
    for question, scene in questions:
        if isinstance(question, Rejected):
            yield question
            continue
        try:
            yield make_row(question, dataset=scene.dataset, video=scene.video, data_source=data_source, split=split)
        except ValueError as error:
            yield Rejected(scene.id, "cannot be scored", str(error))


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write rows, numbered from 0, whole or not at all.

    Args:
        path: the parquet file.
        rows: as `make_row` gives them; read once, so they may be made on the way.
        about: what the fingerprint says beside the content's digest: builder, rule set, seed, source, published.

    Returns:
        the fingerprint, as it stands in the file's metadata.

    Raises:
        NoRowsError: there are no rows.
    """
    digest, count = ContentDigest(), 0
    iterator = iter(rows)
    with atomic_path(Path(path)) as temporary:
        with pq.ParquetWriter(temporary, SCHEMA, write_page_checksum=True) as writer:
            while batch := list(islice(iterator, BATCH)):
                for row in batch:
                    row["extra_info"]["index"] = count
                    digest.add(row)
                    count += 1
                writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))
            versions = {"verl-vsi": installed_version("verl-vsi") or "unknown"}
            content = {"sha256": digest.hexdigest(), "rows": count}
            fingerprint = {**content, "published": False, **about, "versions": versions}
            writer.add_key_value_metadata({FINGERPRINT.decode(): json.dumps(fingerprint)})
        if not count:
            raise NoRowsError(f"{path}: there are no rows to write")
    return fingerprint


def open_rows(path: str | Path) -> pq.ParquetFile:
    """A file of rows, checked.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not parquet, has no rows, or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make it with verl-vsi data build, import or bench")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        names = file.schema_arrow.names
    except DAMAGE as error:
        raise ValueError(f"{path}: not a parquet file ({error}); make it with verl-vsi data build") from error
    missing = [name for name in SCHEMA.names if name not in names]
    if missing:
        raise ValueError(
            f"{path}: column '{missing[0]}' is missing (it has {', '.join(names)}); "
            "bring foreign files in with verl-vsi data import"
        )
    if not file.metadata.num_rows:
        raise ValueError(f"{path}: the file has no rows; was the build's every question left out? Build it again")
    return file


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """All rows of a checked file (see `iter_rows` for the errors)."""
    return list(iter_rows(path))


def iter_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows one at a time, in bounded memory.

    Raises:
        FileNotFoundError, ValueError: as of `open_rows`; or the file is damaged further on, or unpacks to too much.
    """
    open_rows(path).close()
    number = 0
    try:
        for batch in batches(Path(path), BATCH):
            for row in batch.to_pylist():
                yield row
                number += 1
    except DAMAGE as error:
        raise ValueError(f"{path}: damaged after row {number} ({error}); build or download it again") from error


def read_fingerprint(path: str | Path) -> dict[str, Any]:
    """What the file says of its own making; empty for a file that is not ours.

    Raises:
        FileNotFoundError, ValueError: as of `open_rows`; or what it says is no JSON object.
    """
    text = (open_rows(path).metadata.metadata or {}).get(FINGERPRINT, b"{}")
    try:
        fingerprint = parse(text.decode())
    except ValueError as error:
        raise ValueError(f"{path}: its fingerprint is not JSON ({error}); build the rows again") from error
    if not isinstance(fingerprint, dict):
        raise ValueError(f"{path}: its fingerprint is no JSON object, {fingerprint!r:.80}; build the rows again")
    return fingerprint
