"""What differs between two results: first in their labels, then question by question, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import Scores, paired
from verl_vsi.evaluation.score.task_columns import PRESENT, TaskSet

SAID_APART = ("name", "averaging")
"""Labels that follow from others."""


@dataclass(frozen=True)
class Comparison:
    """Result B against result A.

    Args:
        labels: label -> (A's, B's), where they differ; nested ones by ``data.sha256``.
        differences: "score", "reward": B minus A over the questions that both have, 0 to 1.
        wanted: the average's tasks.
        both: questions that both have.
        only_a: questions that only A has.
        only_b: questions that only B has.
        better: questions that B scores higher.
        worse: questions that B scores lower.
    """

    labels: Mapping[str, tuple[Any, Any]]
    differences: Mapping[str, Scores]
    wanted: TaskSet
    both: int
    only_a: int
    only_b: int
    better: int
    worse: int


def compare(a: Result, b: Result) -> Comparison:
    """Pair two results by question.

    Raises:
        ValueError: they have no question in common.
    """
    first, second = _by_question(a), _by_question(b)
    common = [key for key in first if key in second]
    if not common:
        raise ValueError("the two results have no question in common; their data: " + _data(a) + " and " + _data(b))
    tasks = [first[key]["task"] for key in common]
    wanted = a.wanted if a.wanted == b.wanted and _holds(tasks, a.wanted) else PRESENT
    values = {
        what: ([first[k][what] for k in common], [second[k][what] for k in common]) for what in ("score", "reward")
    }
    seed = int(a.labels.get("seed", 0))
    return Comparison(
        labels=label_differences(a.labels, b.labels),
        differences={what: paired(tasks, x, y, wanted, seed=seed) for what, (x, y) in values.items()},
        wanted=wanted,
        both=len(common),
        only_a=len(first) - len(common),
        only_b=len(second) - len(common),
        better=sum(y > x for x, y in zip(*values["score"], strict=True)),
        worse=sum(y < x for x, y in zip(*values["score"], strict=True)),
    )


def label_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Labels that differ, flattened: what a difference of scores may come from."""
    first, second = _flat(a), _flat(b)
    keys = [k for k in {**first, **second} if k not in SAID_APART]
    return {k: (first.get(k), second.get(k)) for k in keys if first.get(k) != second.get(k)}


def _flat(labels: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in labels.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _by_question(result: Result) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """By scene, task, question, truth and how often that came before: the same in files ordered otherwise."""
    keyed: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for answer in result.answers:
        key, again = (answer["scene_id"], answer["task"], answer["question"], answer["truth"]), 0
        while (*key, again) in keyed:
            again += 1
        keyed[(*key, again)] = answer
    return keyed


def _holds(tasks: list[str], wanted: TaskSet) -> bool:
    return set(wanted.types or ()) <= set(tasks)


def _data(result: Result) -> str:
    return f"{result.labels['set']} ({result.labels['data'].get('sha256', '?')[:12]})"
