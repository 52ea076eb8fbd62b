"""The same thing several times (seeds): means over runs, and differences between things, with standard errors.

A standard error here says how far the number may lie from that of new runs on new questions: the variance of the mean
over the runs plus the variance that the questions bring, which more runs on the same questions do not lower.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from verl_vsi.evaluation.report.tables import Cell, TableRow, result_row
from verl_vsi.evaluation.score.comparison import compare
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import Estimate, Scores

PROTOCOL = ("set", "tasks", "preset", "mode", "prompts", "extraction", "frames", "min_pixels", "max_pixels", "decoding")
"""Labels that runs of one thing share."""
NORMAL_95 = 1.96
MEASURES = {"score": "score, %", "reward": "the paper's accuracy reward, of 100"}
MEANING = "± one standard error over runs and questions together"


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

    def cell(self, *, signed: bool = False) -> Cell:
        """In per cent."""
        mean, error = 100 * self.mean, 100 * self.error
        return Cell(mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error, error, signed)


@dataclass(frozen=True)
class Spreads:
    """The macro average and its tasks over several runs."""

    overall: Spread
    tasks: Mapping[str, Spread]

    def to_json(self) -> dict[str, Any]:
        """As plain types."""
        return {"overall": self.overall.to_json(), "tasks": {k: v.to_json() for k, v in self.tasks.items()}}

    def row(self, name: str, *, signed: bool = False, notes: tuple[str, ...] = ()) -> TableRow:
        """As a line of a table."""
        return TableRow(
            name, self.overall.cell(signed=signed), {k: v.cell(signed=signed) for k, v in self.tasks.items()}, notes
        )


@dataclass(frozen=True)
class Difference:
    """One thing minus another, question by question, run by run.

    Args:
        name: e.g. ``vsgrpo − base``.
        measures: of `MEASURES`.
    """

    name: str
    measures: Mapping[str, Spreads]

    def row(self, measure: str) -> TableRow:
        """As a line of a table; the note says each run's, and how many standard errors the mean is."""
        overall = self.measures[measure].overall
        runs = ", ".join(f"{100 * value:+.1f}" for value in overall.values)
        times = f", {overall.mean / overall.error:+.1f} standard errors" if overall.error else ""
        return self.measures[measure].row(self.name, signed=True, notes=(f"average{times}; by run {runs}",))


def spreads(scores: Sequence[Scores]) -> Spreads:
    """Scores of several runs as one; a task counts where every run has it."""
    common = [task for task in scores[0].tasks if all(task in s.tasks for s in scores)]
    return Spreads(_spread([s.overall for s in scores]), {t: _spread([s.tasks[t] for s in scores]) for t in common})


def by_name(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of one name, condition and protocol: the runs of one thing, in the order given.

    Where one name was asked or scored in several ways, these stand apart, and the names say what differs.
    """
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in results:
        how = (str(result.labels.get(label)) for label in PROTOCOL)
        groups[(result_row(result).name, *how)].append(result)
    return {_apart(key, [k for k in groups if k[0] == key[0]]): group for key, group in groups.items()}


def _apart(key: tuple[str, ...], same: Sequence[tuple[str, ...]]) -> str:
    """The name, with the labels in which things of that name differ."""
    said = [f"{label} {key[i]}" for i, label in enumerate(PROTOCOL, 1) if len({k[i] for k in same}) > 1]
    return ", ".join([key[0], *said])


def difference(name: str, first: Sequence[Result], second: Sequence[Result], *, one_model: bool = False) -> Difference:
    """`first` minus `second`: each run of the first with the run of the second that was asked the same questions.

    Where several were, in the order given; a second that has one run stands against all. A run without a counterpart
    is left out: `Spread.values` tells how many there are.

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
    return Difference(name, {m: spreads([p[m] for p in pairs]) for m in MEASURES})


def differences(results: Sequence[Result], against: Sequence[str]) -> list[Difference]:
    """Every thing minus each of `against`, and right minus wrong videos where a thing has both.

    Raises:
        ValueError: none of the results has a name of `against`; see `difference`.
    """
    groups = by_name(results)
    if unknown := [name for name in against if name not in groups]:
        raise ValueError(f"--against '{unknown[0]}': the results are {', '.join(groups)}")
    normal = [name for name in groups if groups[name][0].labels["condition"] == "normal"]
    wanted = [(f"{n} − {a}", n, a) for i, a in enumerate(against) for n in normal if n != a and n not in against[:i]]
    found = [difference(name, groups[one], groups[other]) for name, one, other in wanted]
    return found + [
        difference(f"{n}, right − wrong videos", groups[n], groups[f"{n}, shuffled"], one_model=True)
        for n in normal
        if f"{n}, shuffled" in groups
    ]


def _pairs(first: Sequence[Result], second: Sequence[Result], one_model: bool) -> list[tuple[Result, Result]]:
    left, found = list(second), []
    for one in first:
        fitting = (o for o in left if _asked(o) == _asked(one) and (not one_model or _weights(o) == _weights(one)))
        other = next(fitting, None)
        if other is not None:
            found.append((one, other))
            if len(second) > 1:
                left.remove(other)
    return found


def _asked(result: Result) -> set[tuple[Any, ...]]:
    return {(a["scene_id"], a["task"], a["question"], a["truth"]) for a in result.answers}


def _weights(result: Result) -> tuple[Any, Any]:
    return result.labels["model"], result.labels.get("served")


def _spread(estimates: Sequence[Estimate]) -> Spread:
    return Spread(tuple(e.mean for e in estimates), tuple(e.se for e in estimates))
