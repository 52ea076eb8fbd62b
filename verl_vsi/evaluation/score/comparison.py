"""What differs between two results: first in their labels, then question by question, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_vsi.config.access import flatten
from verl_vsi.evaluation.labels import Labels
from verl_vsi.evaluation.score.grade import Answer
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import MEASURES, Scores, paired
from verl_vsi.evaluation.task_columns import PRESENT, TaskSet

FOLLOWING = ("name", "averaging")
"""Labels that follow from others."""


@dataclass(frozen=True)
class Comparison:
    """Result B against result A.

    Args:
        labels: label -> (A's, B's), where they differ; nested ones by ``data.sha256``.
        differences: by `scores.MEASURES`: B minus A over the questions that both have, 0 to 1.
        task_set: the average's tasks.
        both: questions that both have.
        only_a: questions that only A has.
        only_b: questions that only B has.
        better: questions that B scores higher.
        worse: questions that B scores lower.
    """

    labels: Mapping[str, tuple[Any, Any]]
    differences: Mapping[str, Scores]
    task_set: TaskSet
    both: int
    only_a: int
    only_b: int
    better: int
    worse: int


def compare(a: Result, b: Result) -> Comparison:
    """Pair two results by question.

    Args:
        a: what is compared with.
        b: what is compared.

    Raises:
        ValueError: they have no question in common.
    """
    answers_a, answers_b = _by_question(a), _by_question(b)
    pairs = [(answer, answers_b[key]) for key, answer in answers_a.items() if key in answers_b]
    if not pairs:
        raise ValueError(f"the two results have no question in common; their data: {_data(a)} and {_data(b)}")
    task_set = _common_task_set(a, b, {one.task for one, _ in pairs})
    return Comparison(
        labels=label_differences(a.labels, b.labels),
        differences={measure: _difference(pairs, measure, task_set, a.labels.seed) for measure in MEASURES},
        task_set=task_set,
        both=len(pairs),
        only_a=len(answers_a) - len(pairs),
        only_b=len(answers_b) - len(pairs),
        better=sum(other.score > one.score for one, other in pairs),
        worse=sum(other.score < one.score for one, other in pairs),
    )


def label_differences(a: Labels, b: Labels) -> dict[str, tuple[Any, Any]]:
    """Labels that differ, flattened: what a difference of scores may come from.

    Args:
        a: of the one result.
        b: of the other.
    """
    flat_a, flat_b = flatten(a.to_json()), flatten(b.to_json())
    keys = [key for key in {**flat_a, **flat_b} if key not in FOLLOWING]
    return {key: (flat_a.get(key), flat_b.get(key)) for key in keys if flat_a.get(key) != flat_b.get(key)}


def _by_question(result: Result) -> dict[tuple[Any, ...], Answer]:
    """By what is asked and how often that came before: the same in files ordered otherwise."""
    before: Counter[tuple[str, ...]] = Counter()
    keyed: dict[tuple[Any, ...], Answer] = {}
    for answer in result.answers:
        key = answer.question_key
        keyed[(*key, before[key])] = answer
        before[key] += 1
    return keyed


def _difference(pairs: list[tuple[Answer, Answer]], measure: str, task_set: TaskSet, seed: int) -> Scores:
    first, second = ([getattr(pair[side], measure) for pair in pairs] for side in (0, 1))
    return paired([one.task for one, _ in pairs], first, second, task_set, seed=seed)


def _common_task_set(a: Result, b: Result, tasks: set[str]) -> TaskSet:
    """That of both, where the common questions hold all its tasks."""
    task_set = a.labels.task_set
    return task_set if task_set == b.labels.task_set and set(task_set.types or ()) <= tasks else PRESENT


def _data(result: Result) -> str:
    return f"{result.labels.set} ({result.labels.data.get('sha256', '?')[:12]})"
