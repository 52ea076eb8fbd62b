"""The same thing several times (seeds): means over runs, and paired differences, with standard errors.

What has one name, condition and protocol is an *entry*, as on a leaderboard; its results are its runs. A standard
error here says how far the number may lie from that of new runs on new questions: the variance of the mean over the
runs plus the variance that the questions bring, which more runs on the same questions do not lower.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from verl_vsi.evaluation.score.comparison import compare
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import MEASURES, Estimate, Scores

PROTOCOL = ("set", "tasks", "preset", "mode", "prompts", "extraction", "frames", "min_pixels", "max_pixels", "decoding")
"""Labels that the runs of one entry share."""


@dataclass(frozen=True)
class Spread:
    """One number of several runs, 0 to 1.

    Args:
        values: of each run.
        errors: each run's own standard error, from its questions.
    """

    values: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the runs."""
        return float(np.mean(self.values))

    @property
    def of_runs(self) -> float:
        """Standard error of the mean from how the runs differ; 0 for one run, which says nothing of it."""
        return float(np.std(self.values, ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else 0.0

    @property
    def of_questions(self) -> float:
        """Standard error from the questions, as if all runs had been asked the same ones."""
        return math.sqrt(float(np.mean(np.square(self.errors))))

    @property
    def error(self) -> float:
        """Both together."""
        return math.hypot(self.of_runs, self.of_questions)

    def to_json(self) -> dict[str, Any]:
        """As plain types."""
        parts = ("mean", "error", "of_runs", "of_questions")
        return {"runs": list(self.values), **{part: getattr(self, part) for part in parts}}


@dataclass(frozen=True)
class Spreads:
    """One measure of several runs.

    Args:
        overall: the macro average.
        tasks: by `task_columns.COLUMNS` names.
    """

    overall: Spread
    tasks: Mapping[str, Spread]

    def to_json(self) -> dict[str, Any]:
        """As plain types."""
        return {"overall": self.overall.to_json(), "tasks": {k: v.to_json() for k, v in self.tasks.items()}}


@dataclass(frozen=True)
class PairedDifference:
    """One entry minus another, question by question, run by run.

    Args:
        name: e.g. ``vsgrpo − base``.
        measures: by `scores.MEASURES`.
        entry: name of the one, whose colour pictures give it.
    """

    name: str
    measures: Mapping[str, Spreads]
    entry: str = ""

    @property
    def runs(self) -> int:
        """How many pairs of runs it is the mean of."""
        return len(next(iter(self.measures.values())).overall.values)


def spreads(scores: Sequence[Scores]) -> Spreads:
    """Scores of several runs as one; a task counts where every run has it."""
    common = [task for task in scores[0].tasks if all(task in s.tasks for s in scores)]
    return Spreads(_spread([s.overall for s in scores]), {t: _spread([s.tasks[t] for s in scores]) for t in common})


def _spread(estimates: Sequence[Estimate]) -> Spread:
    return Spread(tuple(e.mean for e in estimates), tuple(e.se for e in estimates))


def by_entry(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of one name, condition and protocol: the runs of one entry, in the order of `results`.

    Where one name was asked or scored in several ways, these stand apart, and the names say what differs.
    """
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in results:
        protocol = (str(getattr(result.labels, label)) for label in PROTOCOL)
        groups[(result.title, *protocol)].append(result)
    return {_entry_name(key, [k for k in groups if k[0] == key[0]]): group for key, group in groups.items()}


def _entry_name(key: tuple[str, ...], namesakes: Sequence[tuple[str, ...]]) -> str:
    """The title, with the labels in which entries of that title differ."""
    labels = [f"{label} {key[i]}" for i, label in enumerate(PROTOCOL, 1) if len({k[i] for k in namesakes}) > 1]
    return ", ".join([key[0], *labels])


def difference(
    name: str, first: Sequence[Result], second: Sequence[Result], *, one_model: bool = False
) -> PairedDifference:
    """`first` minus `second`: each run of the first with the run of the second that was asked the same questions.

    Where several were, in the order of `second`; a second that has one run stands against all. A run without a
    counterpart is left out: `Spread.values` tells how many there are.

    Args:
        name: what the difference is called.
        first: runs of the one.
        second: runs of the other.
        one_model: pair only results of the same model and weights (its conditions).

    Raises:
        ValueError: no run has one.
    """
    pairs = [compare(other, one).differences for one, other in _pairs(first, second, one_model)]
    if not pairs:
        raise ValueError(f"{name}: no run of the one was asked the same questions as a run of the other")
    return PairedDifference(name, {measure: spreads([p[measure] for p in pairs]) for measure in MEASURES})


def differences(results: Sequence[Result], against: Sequence[str]) -> list[PairedDifference]:
    """Every entry minus each of `against`, and right minus wrong videos where an entry has both.

    Args:
        results: of all entries.
        against: names of entries.

    Raises:
        ValueError: none of the results has a name of `against`; see `difference`.
    """
    groups = by_entry(results)
    if unknown := [name for name in against if name not in groups]:
        raise ValueError(f"--against '{unknown[0]}': the results are {', '.join(groups)}")
    normal = [name for name in groups if groups[name][0].labels.condition == "normal"]
    pairs = [(n, other) for i, other in enumerate(against) for n in normal if n not in (other, *against[:i])]
    return [replace(difference(f"{one} − {other}", groups[one], groups[other]), entry=one) for one, other in pairs] + [
        replace(difference(f"{n}, right − wrong videos", groups[n], groups[f"{n}, shuffled"], one_model=True), entry=n)
        for n in normal
        if f"{n}, shuffled" in groups
    ]


def _pairs(first: Sequence[Result], second: Sequence[Result], one_model: bool) -> list[tuple[Result, Result]]:
    unpaired, pairs = list(second), []
    for one in first:
        fitting = (o for o in unpaired if _asked(o) == _asked(one) and (not one_model or _weights(o) == _weights(one)))
        other = next(fitting, None)
        if other is not None:
            pairs.append((one, other))
            if len(second) > 1:
                unpaired.remove(other)
    return pairs


def _asked(result: Result) -> set[tuple[str, ...]]:
    return {answer.question_key for answer in result.answers}


def _weights(result: Result) -> tuple[str, Any]:
    return result.labels.model, dict(result.labels.served)
