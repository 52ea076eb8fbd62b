"""Foreign records to rows: clean texts, the task from the question's words, the scene from any path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.importers.fields import FIELDS, ColumnMap, columns_and_row, read_fields
from verl_vsi.data_adapters.importers.options import Options, letter_of, split_options
from verl_vsi.data_adapters.importers.places import place_of
from verl_vsi.data_adapters.importers.records import Record, load_records
from verl_vsi.data_adapters.importers.training_sets import TrainingSet
from verl_vsi.data_adapters.leakage import ids_and_paths, rejection_of
from verl_vsi.data_adapters.rows import make_row
from verl_vsi.data_adapters.schema import Kind, Question, Rejected

TASK_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("how many ", "(s)"), schema.COUNTING),
    (("longest dimension",), schema.OBJECT_SIZE),
    (("size of this room",), schema.ROOM_SIZE),
    (("size of the room",), schema.ROOM_SIZE),
    (("which of these objects ", " closest to"), schema.REL_DISTANCE),
    (("distance between ", " and "), schema.ABS_DISTANCE),
    (("standing by ", " facing ", " front-left"), schema.DIRECTION_HARD),
    (("standing by ", " facing ", " left, right, or back"), schema.DIRECTION_MEDIUM),
    (("standing by ", " facing ", " left or the right"), schema.DIRECTION_EASY),
    (("first-time appearance order",), schema.APPEARANCE),
    (("you are a robot",), schema.ROUTE),
    (("navigate to",), schema.ROUTE),
)
"""Words that, one after the other, tell a question's task in the templates of VSI-100k and VSI-Bench; the first counts.

Each is looked for behind the one before, so that the time is linear whatever the text."""

_PROMPTS = re.compile(
    r"please provide the short answer with|please answer the question using|please think step by step and enclose"
    r"|please observe carefully and analyze|please observe the video first|let's think step by step and then"
    r"|answer with the option's letter|please (?:answer|respond|reply) with|please (?:select|choose)",
    re.IGNORECASE,
)
"""Start of a mode's or the benchmark's prompt at the question's end: the dataset class adds its own."""


def import_rows(
    path: str | Path,
    *,
    mapping: ColumnMap | None = None,
    published: bool = False,
    split: str = "train",
    extraction: str = "robust",
    source: TrainingSet | None = None,
    kept_out: frozenset[str] = frozenset(),
) -> Iterator[dict[str, Any] | Rejected]:
    """Rows of a ready-made file, and a `Rejected` for every record that makes none.

    Args:
        path: JSON, JSONL or parquet.
        mapping: our field -> their column, where content alone does not tell.
        published: keep scenes that would leak.
        split: of the rows.
        extraction: the run's: a truth that it can't reach is rejected.
        source: the published set that the file is of; None: any.
        kept_out: further scenes that are rejected, e.g. those of another benchmark.

    Raises:
        ValueError: question or answer is in none of the first records; the message shows one and says what to do.
    """
    columns = dict(mapping or {})
    records = load_records(path)
    first = list(islice(records, _LOOKED_AT))
    _check_recognised([record for _, record in first if not isinstance(record, Rejected)], columns, path)
    for where, record in chain(first, records):
        if isinstance(record, Rejected):
            yield record
            continue
        adapted = record if source is None else source.adapted(record, where)
        if isinstance(adapted, Rejected):
            yield adapted
            continue
        try:
            row = _convert(adapted, columns, where, published, split, extraction)
            yield _kept_out(row, kept_out, where) or row
        except (TypeError, ValueError) as error:  # whatever the record holds, the next one is read
            yield Rejected(where, _reason(str(error)), str(error))


def _kept_out(row: dict[str, Any] | Rejected, scenes: frozenset[str], where: str) -> Rejected | None:
    scene = None if isinstance(row, Rejected) else row["extra_info"]["scene_id"]
    return Rejected(where, "scene that is kept out", scene) if scene in scenes and scene else None


_LOOKED_AT = 100
"""Records at a file's start of which one must be recognised: the very first may be a bad one."""


def _check_recognised(records: Sequence[Record], mapping: ColumnMap, path: str | Path) -> None:
    problems = [_unrecognised(record, mapping) for record in records]
    if problems and all(problems):
        raise ValueError(f"{path}: {problems[0]}\n{columns_and_row(records[0])}")


def _unrecognised(record: Record, mapping: ColumnMap) -> str | None:
    missing = [column for column in mapping.values() if column not in record]
    if missing:
        return f"there is no column '{missing[0]}'"
    try:
        fields = read_fields(record, mapping)
    except ValueError:
        return None  # it has options, and they are broken: a matter of this record alone
    answer_columns = {*FIELDS["answer"], mapping.get("answer")} & record.keys()  # there, and empty in this row
    if fields.question is None or (fields.answer is None and not answer_columns):
        return f"cannot tell which column holds the {'question' if fields.question is None else 'answer'}"
    return None


def _convert(
    record: Record, columns: ColumnMap, where: str, published: bool, split: str, extraction: str
) -> dict[str, Any] | Rejected:
    fields = read_fields(record, columns)
    if fields.question is None or fields.answer is None:
        return Rejected(where, "no question" if fields.question is None else "no answer", fields.question or "")
    names = list(ids_and_paths(record))
    leaking = None if published else rejection_of([fields.scene or "", *fields.paths, *names], where)
    if leaking:
        return leaking
    place = place_of(fields, names)
    if place is None:
        return Rejected(where, "no scene", f"neither scene nor video is given; --map scene=COLUMN. {fields.question}")
    text, options = split_options(clean_question(fields.question))
    options = fields.options or options
    task = _task(fields.task, text)
    if task is None:
        return Rejected(where, "task not recognised", f"'{fields.task}': {text}; --map task=COLUMN")
    question = _question(task, text, clean_answer(fields.answer), options, place.scene)
    return make_row(
        question, dataset=place.dataset, video=place.video, data_source="vsi100k", split=split, extraction=extraction
    )


def clean_question(text: str) -> str:
    """Without ``<video>`` and ``<image>`` marks, and without a mode's prompt at its end."""
    text = re.sub(r"<(?:video|image)>", "", text)
    prompt = _PROMPTS.search(text, 1)
    return (text[: prompt.start()] if prompt else text).strip()


def clean_answer(text: str) -> str:
    """What stands between ``<answer>`` tags, or the text itself, without a full stop at its end."""
    _, opened, rest = text.partition("<answer>")
    inner, closed, _ = rest.partition("</answer>")
    return (inner if opened and closed else text).strip().removesuffix(".")


def _question(task: str, text: str, answer: str, options: Options, scene: str) -> Question:
    kind = _kind(task, text, answer, options)
    if kind == "choice":
        answer = letter_of(answer, options)
    elif kind == "word" and not options and re.fullmatch("[A-Z]", answer):
        raise ValueError(f"answer '{answer}' is a letter, and no options are given; --map options=COLUMN. {text}")
    return Question(task, text, answer, kind, scene, options if kind == "choice" else (), {"rule": "import"})


def _kind(task: str, text: str, answer: str, options: Options) -> Kind:
    """A word where the options stand in the question and the answer is one of them, as in VSI-100k."""
    if task in schema.NUMERIC:
        return "number"
    words = [option[3:] for option in options]
    return "word" if answer in words and all(word in text for word in words) else "choice" if options else "word"


def _task(name: str | None, text: str) -> str | None:
    if name in schema.TASKS:
        return name
    lower = text.lower()
    return next((task for words, task in TASK_WORDS if _in_turn(words, lower)), None)


def _in_turn(words: tuple[str, ...], text: str) -> bool:
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0:
            return False
        end = start + len(word)
    return True


def _reason(message: str) -> str:
    """A few words that many rejections share."""
    reasons = (
        "leaves the data root",
        "no answer",
        "is not a number",
        "is none of the options",
        "is a letter, and no options are given",
        "is unreachable",
        "cannot be true",
        "is implausible",
        "scene and video disagree",
        "frames lie in several folders",
        "is too long",
        "control character",
        "must be a printable text",
    )
    return next((reason for reason in reasons if reason in message), "cannot be scored")
