"""Foreign records to rows: clean texts, the task from the question's words, the scene from any path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.files import relative
from verl_vsi.data_adapters.importers.fields import FIELDS, SCAN, ColumnMap, RecordFields, columns_and_row, read_fields
from verl_vsi.data_adapters.importers.records import Record, load_records
from verl_vsi.data_adapters.leakage import rejection_of
from verl_vsi.data_adapters.rows import make_row
from verl_vsi.data_adapters.schema import Kind, Question, Rejected

TASK_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"how many .+\(s\)", schema.COUNTING),
    (r"longest dimension", schema.OBJECT_SIZE),
    (r"size of (this|the) room", schema.ROOM_SIZE),
    (r"which of these objects .+ closest to", schema.REL_DISTANCE),
    (r"distance between .+ and .+", schema.ABS_DISTANCE),
    (r"standing by .+ facing .+ front-left", schema.DIRECTION_HARD),
    (r"standing by .+ facing .+ left, right, or back", schema.DIRECTION_MEDIUM),
    (r"standing by .+ facing .+ left or the right", schema.DIRECTION_EASY),
    (r"first-time appearance order", schema.APPEARANCE),
    (r"you are a robot|navigate to", schema.ROUTE),
)
"""Words that tell a question's task, in the templates of VSI-100k and VSI-Bench; the first that fits counts."""

_PROMPTS = re.compile(
    r"\s*(please provide the short answer with|please answer the question using|please think step by step and enclose"
    r"|please observe carefully and analyze|please observe the video first|let's think step by step and then).*$",
    re.IGNORECASE | re.DOTALL,
)
"""A mode's prompt at the question's end: the dataset class adds its own."""

_SCENE_NAMES = ((re.compile(r"\d{8}"), "arkitscenes"), (re.compile(r"[0-9a-f]{10}"), "scannetpp"))
"""How the other datasets of VSI-Bench name their scenes."""


def import_rows(
    path: str | Path, *, mapping: ColumnMap | None = None, published: bool = False, split: str = "train"
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
    columns = dict(mapping or {})
    for number, record in enumerate(load_records(path), 1):
        if number == 1:
            _check_recognised(record, columns, path)
        yield _convert(read_fields(record, columns), f"{path}, row {number}", published, split)


def _check_recognised(record: Record, mapping: ColumnMap, path: str | Path) -> None:
    missing = [column for column in mapping.values() if column not in record]
    if missing:
        raise ValueError(f"{path}: there is no column '{missing[0]}'\n{columns_and_row(record)}")
    fields = read_fields(record, mapping)
    answer_columns = {*FIELDS["answer"], mapping.get("answer")} & record.keys()  # there, and empty in this row
    if fields.question is None or (fields.answer is None and not answer_columns):
        field = "question" if fields.question is None else "answer"
        raise ValueError(f"{path}: cannot tell which column holds the {field}\n{columns_and_row(record)}")


def _convert(fields: RecordFields, where: str, published: bool, split: str) -> dict[str, Any] | Rejected:
    if fields.question is None or fields.answer is None:
        return Rejected(where, "no question" if fields.question is None else "no answer", fields.question or "")
    place = _place(fields)
    if place is None:
        return Rejected(where, "no scene", f"neither scene nor video is given; --map scene=COLUMN. {fields.question}")
    scene, dataset, video = place
    leaking = None if published else rejection_of(scene)
    if leaking:
        return Rejected(where, leaking.reason, f"scene {scene}: {leaking.detail}")
    text = clean_question(fields.question)
    task = _task(fields.task, text)
    if task is None:
        return Rejected(where, "task not recognised", f"'{fields.task}': {text}; --map task=COLUMN")
    question = _question(fields, task, text, scene)
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


def _question(fields: RecordFields, task: str, text: str, scene: str) -> Question:
    answer = clean_answer(fields.answer or "")
    kind = _kind(task, text, answer, fields.options)
    if kind == "choice":  # some files answer with the option, or with its text
        answer = next(
            (o[0] for o in fields.options if answer.lower() in (o[0].lower(), o.lower(), o[3:].lower())), answer
        )
    options = fields.options if kind == "choice" else ()
    return Question(task, text, answer, kind, scene, options, {"rule": "import"})


def _kind(task: str, text: str, answer: str, options: tuple[str, ...]) -> Kind:
    """A word where the options stand in the question and the answer is one of them, as in VSI-100k."""
    if task in schema.NUMERIC:
        return "number"
    words = [option[3:] for option in options]
    return "word" if answer in words and all(word in text for word in words) else "choice" if options else "word"


def _task(name: str | None, text: str) -> str | None:
    if name in schema.TASKS:
        return name
    return next((task for pattern, task in TASK_PATTERNS if re.search(pattern, text, re.IGNORECASE | re.DOTALL)), None)


def _place(fields: RecordFields) -> tuple[str, str, str] | None:
    """Scene, dataset and video relative to the data root; a known scene's video is ``<dataset>/<scene>.mp4``."""
    scan = SCAN.search(f"{fields.scene} {fields.video}")
    if scan:
        return scan.group(), "scannet", f"scannet/{scan.group()}.mp4"
    path = PurePosixPath((fields.video or "").replace("\\", "/"))
    names = [name for name in (fields.scene, path.stem, path.parent.name) if name]
    for name in names:
        for pattern, dataset in _SCENE_NAMES:
            if pattern.fullmatch(name):
                return name, dataset, f"{dataset}/{name}.mp4"
    if fields.video:
        return names[0], fields.dataset or path.parts[0], fields.video
    return (names[0], fields.dataset, f"{fields.dataset}/{names[0]}.mp4") if names and fields.dataset else None


def _reason(message: str) -> str:
    """A few words that many rejections share."""
    reasons = ("leaves the data root", "no answer", "is not a number", "is none of the options")
    return next((reason for reason in reasons if reason in message), "cannot be scored")
