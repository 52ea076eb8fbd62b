"""The questions of an evaluation, read from rows, and what came back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from verl_vsi.data_adapters.frame_support import frames_in
from verl_vsi.data_adapters.row_checks import check_question
from verl_vsi.data_adapters.rows import read_fingerprint, read_rows
from verl_vsi.data_adapters.schema import Kind, Question
from verl_vsi.evaluation.task_columns import column_of

Shown = Literal["frames", "first-frame", "black"]
TINY = 50
"""Questions a task of a tiny set, as in VSI-Bench's own (2412.14171)."""


@dataclass(frozen=True)
class Item:
    """One question to ask.

    Args:
        index: its row's place in the file, from 0; what a row says of its index may be said twice.
        data_source: as verl groups it, e.g. ``vsibench/object_counting``.
        task: question type.
        kind: how it is scored.
        scene_id: whose scene it is about.
        question: text without options and mode prompt.
        options: ``A. chair``, ...; empty where it is no lettered choice.
        truth: the answer as text.
        video: path relative to the data root; None: blind.
        dataset: where the scene comes from.
        support: choice of frames -> whether they show what is asked; empty where the row does not say.
        objects: the categories that the question names, where the row says.
        places: choice of frames -> places among them that show one of `objects`, where the row says.
        shown: what is shown of the video.
        hidden: places among the frames whose frames are not shown.
    """

    index: int
    data_source: str
    task: str
    kind: Kind
    scene_id: str
    question: str
    options: tuple[str, ...]
    truth: str
    video: str | None
    dataset: str = ""
    support: Mapping[str, bool] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shown: Shown = "frames"
    hidden: tuple[int, ...] = ()


Status = Literal["ok", "empty", "refused", "failed"]


@dataclass(frozen=True)
class Reply:
    """What came back for one question.

    Args:
        index: the question's row.
        status: `ok`; `empty`: the model ended without a word; `refused`: the model or its provider declined;
            `failed`: no answer after all retries.
        text: what the model wrote; empty where nothing came.
        finish: why it stopped; ``length`` = cut by the budget.
        prompt_tokens: as the server counted them.
        completion_tokens: as the server counted them.
        attempts: requests sent for it.
        error: the last error where it failed, was refused or is empty.
        model: who answered, as the endpoint says.
    """

    index: int
    status: Status
    text: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 1
    error: str = ""
    model: str = ""


@dataclass(frozen=True)
class QuestionSet:
    """Questions and where they come from.

    Args:
        items: the questions.
        name: of their file.
        fingerprint: what the file says of its making, and how many questions were taken.
    """

    items: tuple[Item, ...]
    name: str
    fingerprint: Mapping[str, Any]


def read_set(path: str | Path, *, tiny: bool = False, limit: int | None = None, seed: int = 0) -> QuestionSet:
    """The questions of a file of rows.

    Args:
        path: the parquet file.
        tiny: `TINY` questions a task, drawn by `seed` (directions count as one task, their types evenly).
        limit: questions a task, instead of `TINY`.
        seed: of the draw.

    Raises:
        FileNotFoundError, ValueError: see `verl_vsi.data_adapters.rows.open_rows`; or a limit below 1.
    """
    items = tuple(item_of(place, row) for place, row in enumerate(read_rows(path)))
    fingerprint = dict(read_fingerprint(path)) or {"sha256": digest(items), "builder": "not written by verl-vsi"}
    count = TINY if tiny and limit is None else limit
    if count is not None:
        if count < 1:
            raise ValueError(f"{count} questions a task: take at least one")
        items = draw(items, count, seed)
        fingerprint |= {"per_task": count, "draw_seed": seed}
    fingerprint |= {"questions": len(items), "asked_sha256": digest(items)}
    return QuestionSet(items, Path(path).stem, fingerprint)


def item_of(place: int, row: Mapping[str, Any]) -> Item:
    """A row as a question.

    Args:
        place: of the row in its file, from 0.
        row: as `verl_vsi.data_adapters.rows` writes it.

    Raises:
        ValueError: the row lacks a field, names no single video, an unknown task, or a truth that nothing can reach.
    """
    try:
        item = _item(place, row)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"row {place}: a field is missing or null ({error}); bring foreign files in with verl-vsi data import"
        ) from error
    if len(row["videos"]) != 1:
        raise ValueError(f"row {place} (scene '{item.scene_id}') has {len(row['videos'])} videos, wants one")
    column_of(item.task)
    question = Question(item.task, item.question, item.truth, item.kind, item.scene_id, item.options)
    check_question(question, f"row {place} (scene '{item.scene_id}')")
    return item


def _item(place: int, row: Mapping[str, Any]) -> Item:
    info = row["extra_info"]
    return Item(
        index=place,
        data_source=row["data_source"],
        task=info["task"],
        kind=info["kind"],
        scene_id=info["scene_id"],
        question=info["question"],
        options=tuple(info["options"] or ()),
        truth=row["reward_model"]["ground_truth"] or "",
        video=next(iter(row["videos"]), None),
        dataset=info["dataset"] or "",
        **vars(frames_in(info)),
    )


def draw(items: Sequence[Item], count: int, seed: int) -> tuple[Item, ...]:
    """`count` questions a table column, each type's share as even as it can be, in the file's order.

    Args:
        items: all questions.
        count: of a column of the benchmark's table; a column with fewer gives what it has.
        seed: of the draw.
    """
    by_type: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_type[item.task].append(item)
    types_of = Counter(column_of(task) for task in by_type)
    types_seen: Counter[str] = Counter()
    drawn: list[Item] = []
    for task in sorted(by_type):
        column, pool = column_of(task), by_type[task]
        share = (count + types_seen[column]) // types_of[column]  # 50 over three types: 16, 17, 17
        types_seen[column] += 1
        places = np.random.default_rng([seed, len(pool)]).permutation(len(pool))[:share]
        drawn += [pool[i] for i in places]
    return tuple(sorted(drawn, key=lambda item: item.index))


def digest(items: Sequence[Item]) -> str:
    """sha256 over everything that is asked."""
    text = json.dumps([[i.index, i.task, i.question, i.options, i.truth, i.video] for i in items])
    return hashlib.sha256(text.encode()).hexdigest()
