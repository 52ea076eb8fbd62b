"""Task means, the direction merge and the macro average, as VSI-Bench's code computes them, with intervals.

Source: ``vsibench_aggregate_results`` of thinking-in-space: a mean a question type, the direction types averaged with
equal weights into one task, the plain mean of the tasks. Intervals: percentile bootstrap over questions within types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.evaluation.task_columns import COLUMNS, TaskSet, check_tasks, column_of

Array = NDArray[np.float64]

DRAWS = 2000
"""Of the bootstrap."""
LEVEL = 0.95
"""Of the intervals."""
MEASURES = {"score": "score, %", "reward": "the paper's accuracy reward, of 100"}
"""What every answer is given, 0 to 1 -> how a table calls it, in per cent."""


@dataclass(frozen=True)
class Estimate:
    """A mean and how well it is known, all in the unit of the values.

    Args:
        mean: of the questions, merged and averaged as its place says.
        se: standard error of the mean, questions taken as independent.
        low: lower end of the bootstrap 95 % interval.
        high: upper end.
        n: questions.
    """

    mean: float
    se: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Scores:
    """The macro average and its tasks, and the micro average.

    Args:
        overall: macro: the plain mean of the tasks, as VSI-Bench and lmms-eval have it.
        tasks: by `task_columns.COLUMNS` names.
        micro: the plain mean of the questions, as the papers on VSI-Bench-Debiased have it; None in files from before.
    """

    overall: Estimate
    tasks: Mapping[str, Estimate]
    micro: Estimate | None = None

    def to_json(self) -> dict[str, object]:
        """As plain types."""
        node: dict[str, object] = {
            "overall": asdict(self.overall),
            "tasks": {k: asdict(v) for k, v in self.tasks.items()},
        }
        return node | ({"micro": asdict(self.micro)} if self.micro else {})

    @classmethod
    def from_json(cls, node: Mapping[str, Any]) -> Scores:
        """Scores that `to_json` gave."""
        micro = Estimate(**node["micro"]) if node.get("micro") else None
        return cls(Estimate(**node["overall"]), {task: Estimate(**e) for task, e in node["tasks"].items()}, micro)


_ZERO: Array = np.zeros(())


def summarise(
    tasks: Sequence[str], values: Sequence[float], task_set: TaskSet, *, seed: int = 0, draws: int = DRAWS
) -> Scores:
    """Average one value a question.

    Args:
        tasks: (N,) question types.
        values: (N,) scores; any unit.
        task_set: the tasks that the average is taken over.
        seed: of the bootstrap.
        draws: bootstrap draws.

    Raises:
        MissingTaskError: a task of `task_set` has no question.
    """
    check_tasks(tasks, task_set)
    groups = _groups(tasks, np.asarray(values, dtype=np.float64))
    rng = np.random.default_rng(seed)
    drawn = {task: _mean_and_draws(v, rng, draws) for task, v in groups.items()}
    means = merge_directions(drawn)
    variances = merge_directions({task: _variance(v) for task, v in groups.items()}, power=2)
    counts = {c: sum(len(v) for task, v in groups.items() if column_of(task) == c) for c in means}
    columns = {c: _estimate(means[c], variances[c], counts[c]) for c in means}
    k = len(columns)
    overall = _estimate(sum(means.values(), _ZERO) / k, sum(variances.values(), _ZERO) / k**2, sum(counts.values()))
    shares = {task: len(v) / len(values) for task, v in groups.items()}
    micro = _estimate(
        sum((shares[task] * drawn[task] for task in groups), _ZERO),
        sum((shares[task] ** 2 * _variance(v) for task, v in groups.items()), _ZERO),
        len(values),
    )
    return Scores(overall, columns, micro)


def paired(
    tasks: Sequence[str], first: Sequence[float], second: Sequence[float], task_set: TaskSet, *, seed: int = 0
) -> Scores:
    """`second` minus `first`, question by question: the difference of two averages and its interval.

    Averages are linear, so the average of the differences is the difference of the averages.

    Args:
        tasks: (N,) question types.
        first: (N,) scores.
        second: (N,) scores of the same questions.
        task_set: the tasks that the average is taken over.
        seed: of the bootstrap.
    """
    return summarise(tasks, (np.asarray(second) - np.asarray(first)).tolist(), task_set, seed=seed)


def merge_directions(by_type: Mapping[str, Array], power: int = 1) -> dict[str, Array]:
    """Values a question type -> values a column, in table order: direction types with equal weights.

    Args:
        by_type: arrays of one shape, any.
        power: 1 for means, 2 for the variances of independent means.
    """
    parts: dict[str, list[Array]] = {}
    for task, value in by_type.items():
        parts.setdefault(column_of(task), []).append(value)
    return {c: sum(parts[c], _ZERO) / len(parts[c]) ** power for c in COLUMNS if c in parts}


def _mean_and_draws(values: Array, rng: np.random.Generator, draws: int) -> Array:
    """(N,) values -> (1 + draws,) their mean, then means of as many values drawn with replacement."""
    drawn = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    return np.concatenate([[values.mean()], drawn])


def _variance(values: Array) -> Array:
    """(N,) values -> () variance of their mean; 0 where one value says nothing of it."""
    return np.asarray(values.var(ddof=1) / len(values) if len(values) > 1 else 0.0)


def _groups(tasks: Sequence[str], values: Array) -> dict[str, Array]:
    names = np.asarray(tasks)
    return {name: values[names == name] for name in sorted(set(tasks))}


def _estimate(mean_and_draws: Array, variance: Array, n: int) -> Estimate:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(mean_and_draws[1:], [tail, 1 - tail])
    return Estimate(float(mean_and_draws[0]), float(np.sqrt(variance)), float(low), float(high), n)
