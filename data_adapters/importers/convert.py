"""Foreign records to rows: clean texts, the task from the question's words, the scene from any path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.files import relative
from verl_vsi.data_adapters.importers.fields import FIELDS, SCAN, Found, describe, find
from verl_vsi.data_adapters.importers.records import Record, load_records
from verl_vsi.data_adapters.leakage import refused
from verl_vsi.data_adapters.rows import make_row
from verl_vsi.data_adapters.schema import Kind, Question, Rejected

TASKS: tuple[tuple[str, str], ...] = (
    (r"how many .+\(s\)", t.COUNTING),
    (r"longest dimension", t.OBJECT_SIZE),
    (r"size of (this|the) room", t.ROOM_SIZE),
    (r"which of these objects .+ closest to", t.REL_DISTANCE),
    (r"distance between .+ and .+", t.ABS_DISTANCE),
    (r"standing by .+ facing .+ front-left", t.DIRECTION_HARD),
    (r"standing by .+ facing .+ left, right, or back", t.DIRECTION_MEDIUM),
    (r"standing by .+ facing .+ left or the right", t.DIRECTION_EASY),
    (r"first-time appearance order", t.APPEARANCE),
    (r"you are a robot|navigate to", t.ROUTE),
)
"""Words that tell a question's task, in the templates of VSI-100k and VSI-Bench; the first that fits counts."""

_PROMPTS = re.compile(
    r"\s*(please provide the short answer with|please answer the question using|please think step by step and enclose"
    r"|please observe carefully and analyze|please observe the video first|let's think step by step and then).*$",
    re.IGNORECASE | re.DOTALL,
)
"""A mode's prompt at the question's end: the dataset class adds its own."""

_NAMES = ((re.compile(r"\d{8}"), "arkitscenes"), (re.compile(r"[0-9a-f]{10}"), "scannetpp"))
"""How the other datasets of VSI-Bench name their scenes."""


def import_rows(
    path: str | Path, *, mapping: Mapping[str, str] | None = None, published: bool = False, split: str = "train"
) -> Iterator[dict[str, Any] | Rejected]:
    """Rows of a ready-made file, and a `Rejected` for every record that makes none.

    Args:
        path: JSON, JSONL or parquet.
        mapping: our field -> their column, where content alone does not tell.
        published: keep scenes that would leak.
        split: of the rows.

    Raises:
        ValueError: question or answer cannot be found in the first record; the message shows it and says what to do.
    """
    chosen = dict(mapping or {})
    for number, record in enumerate(load_records(path), 1):
        if number == 1:
            _check_recognised(record, chosen, path)
        yield _convert(find(record, chosen), f"{path}, row {number}", published, split)


def _check_recognised(record: Record, mapping: dict[str, str], path: str | Path) -> None:
    absent = [column for column in mapping.values() if column not in record]
    if absent:
        raise ValueError(f"{path}: there is no column '{absent[0]}'\n{describe(record)}")
    found = find(record, mapping)
    known = {*FIELDS["answer"], mapping.get("answer")} & record.keys()  # it may be there, and empty in this row
    if found.question is None or (found.answer is None and not known):
        lacking = "question" if found.question is None else "answer"
        raise ValueError(f"{path}: cannot tell which column holds the {lacking}\n{describe(record)}")


def _convert(found: Found, where: str, published: bool, split: str) -> dict[str, Any] | Rejected:
    if found.question is None or found.answer is None:
        return Rejected(where, "no question" if found.question is None else "no answer", found.question or "")
    place = _place(found)
    if place is None:
        return Rejected(where, "no scene", f"neither scene nor video is given; --map scene=COLUMN. {found.question}")
    scene, dataset, video = place
    leaking = None if published else refused(scene)
    if leaking:
        return Rejected(where, leaking.reason, f"scene {scene}: {leaking.detail}")
    text = clean_question(found.question)
    task = _task(found.task, text)
    if task is None:
        return Rejected(where, "task not recognised", f"'{found.task}': {text}; --map task=COLUMN")
    question = _question(found, task, text, scene)
    try:
        video = relative(video, where)
        return make_row(question, dataset=dataset, video=video, data_source="vsi100k", split=split)
    except ValueError as error:
        return Rejected(where, _reason(str(error)), str(error))


def clean_question(text: str) -> str:
    """Without ``<video>`` and ``<image>`` marks, and without a mode's prompt at its end."""
    return _PROMPTS.sub("", re.sub(r"<(video|image)>\s*", "", text)).strip()


def clean_answer(text: str) -> str:
    """What stands between ``<answer>`` tags, or the text itself, without a full stop at its end."""
    inner = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return (inner.group(1) if inner else text).strip().removesuffix(".")


def _question(found: Found, task: str, text: str, scene: str) -> Question:
    answer = clean_answer(found.answer or "")
    kind = _kind(task, text, answer, found.options)
    if kind == "choice":  # some files answer with the option, or with its text
        answer = next(
            (o[0] for o in found.options if answer.lower() in (o[0].lower(), o.lower(), o[3:].lower())), answer
        )
    options = found.options if kind == "choice" else ()
    return Question(task, text, answer, kind, scene, options, {"rule": "import"})


def _kind(task: str, text: str, answer: str, options: tuple[str, ...]) -> Kind:
    """A word where the options stand in the question and the answer is one of them, as in VSI-100k."""
    if task in t.NUMERIC:
        return "number"
    words = [option[3:] for option in options]
    return "word" if answer in words and all(word in text for word in words) else "choice" if options else "word"


def _task(named: str | None, text: str) -> str | None:
    if named in t.TASKS:
        return named
    return next((task for words, task in TASKS if re.search(words, text, re.IGNORECASE | re.DOTALL)), None)


def _place(found: Found) -> tuple[str, str, str] | None:
    """Scene, dataset and video relative to the data root; a known scene's video is ``<dataset>/<scene>.mp4``."""
    scan = SCAN.search(f"{found.scene} {found.video}")
    if scan:
        return scan.group(), "scannet", f"scannet/{scan.group()}.mp4"
    path = PurePosixPath((found.video or "").replace("\\", "/"))
    names = [name for name in (found.scene, path.stem, path.parent.name) if name]
    for name in names:
        for pattern, dataset in _NAMES:
            if pattern.fullmatch(name):
                return name, dataset, f"{dataset}/{name}.mp4"
    if found.video:
        return names[0], found.dataset or path.parts[0], found.video
    return (names[0], found.dataset, f"{found.dataset}/{names[0]}.mp4") if names and found.dataset else None


def _reason(message: str) -> str:
    """A few words that many rejections share."""
    known = ("leaves the data root", "no answer", "is not a number", "is none of the options")
    return next((words for words in known if words in message), "cannot be scored")
