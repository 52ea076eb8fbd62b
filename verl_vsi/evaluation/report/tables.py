"""Rows of tables: results, means over runs, differences; the tasks stand in the benchmark's order.

`table_formats` writes them for the terminal and as Markdown, LaTeX and CSV.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import Estimate, Scores
from verl_vsi.evaluation.score.seeds import PairedDifference, Spread, Spreads
from verl_vsi.evaluation.task_columns import COLUMNS

MISSING = "–"
NORMAL_95 = 1.96
"""Standard errors on either side that hold 95 % of a normal distribution."""
INTERVAL_MEANING = "brackets: 95 % bootstrap interval over questions, one run"


def error_meaning(runs: Collection[int]) -> str:
    """What stands behind ± in a table.

    Args:
        runs: how many runs each row with a ± is of.
    """
    if max(runs) == 1:
        return "± one standard error over questions; one run, so nothing of how runs differ"
    alone = " (of a row of one run: over questions alone)" if min(runs) == 1 else ""
    return f"± one standard error over runs and questions together{alone}"


@dataclass(frozen=True)
class Cell:
    """A number of a table, in per cent.

    Args:
        mean: None: not known, shown as a dash.
        low: lower end of the 95 % interval; None: no interval.
        high: upper end.
        error: standard error, shown instead of the interval.
        signed: a difference, shown with its sign.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    signed: bool = False

    def text(self, intervals: bool = True) -> str:
        """``35.4``, ``35.4 [34.1, 36.8]`` or ``+35.4 ± 0.7``."""
        if self.mean is None:
            return MISSING
        mean = f"{self.mean:+.1f}" if self.signed else f"{self.mean:.1f}"
        if self.error is not None:
            return f"{mean} ± {self.error:.1f}"
        if not intervals or self.low is None or self.high is None:
            return mean
        return f"{mean} [{self.low:.1f}, {self.high:.1f}]"


def estimate_cell(estimate: Estimate) -> Cell:
    """An estimate in per cent."""
    return Cell(100 * estimate.mean, 100 * estimate.low, 100 * estimate.high)


def spread_cell(spread: Spread, *, signed: bool = False) -> Cell:
    """A number of several runs in per cent, with its standard error.

    Args:
        spread: of the runs.
        signed: whether it is a difference.
    """
    mean, error = 100 * spread.mean, 100 * spread.error
    return Cell(mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error, error, signed)


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Args:
        name: what it is.
        overall: the average.
        tasks: by `task_columns.COLUMNS` names.
        notes: labels or cautions that belong to it.
        micro: the micro average, where the table shows it beside the macro one.
    """

    name: str
    overall: Cell
    tasks: Mapping[str, Cell] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    micro: Cell | None = None

    def task(self, column: str) -> Cell:
        """A task's cell; a dash where the row has none."""
        return self.tasks.get(column, Cell(None))


def scores_row(name: str, scores: Scores, notes: Sequence[str] = ()) -> TableRow:
    """Scores as a line.

    Args:
        name: what they are of.
        scores: one measure.
        notes: what belongs to them.
    """
    tasks = {task: estimate_cell(estimate) for task, estimate in scores.tasks.items()}
    return TableRow(name, estimate_cell(scores.overall), tasks, tuple(notes))


def result_row(result: Result, notes: Sequence[str] = ()) -> TableRow:
    """A result as a line.

    Args:
        result: its title names the line.
        notes: what belongs to it.
    """
    return scores_row(result.title, result.scores["score"], notes)


def spreads_row(name: str, spreads: Spreads, *, signed: bool = False, notes: Sequence[str] = ()) -> TableRow:
    """A measure of several runs as a line.

    Args:
        name: what it is of.
        spreads: over the runs.
        signed: whether it is a difference.
        notes: what belongs to it.
    """
    tasks = {task: spread_cell(spread, signed=signed) for task, spread in spreads.tasks.items()}
    return TableRow(name, spread_cell(spreads.overall, signed=signed), tasks, tuple(notes))


def difference_row(difference: PairedDifference, measure: str) -> TableRow:
    """A paired difference as a line; the note gives each run's, and how many standard errors the mean is.

    Args:
        difference: of two entries.
        measure: of `scores.MEASURES`.
    """
    spreads = difference.measures[measure]
    runs = ", ".join(f"{100 * value:+.1f}" for value in spreads.overall.values)
    errors = f", {spreads.overall.mean / spreads.overall.error:+.1f} standard errors" if spreads.overall.error else ""
    return spreads_row(difference.name, spreads, signed=True, notes=(f"average{errors}; by run {runs}",))


def averages_of(rows: Sequence[TableRow]) -> dict[str, list[Cell]]:
    """Head -> a cell a row: the macro average alone, or macro and micro where some row has both."""
    macro = [row.overall for row in rows]
    if all(row.micro is None for row in rows):
        return {"average": macro}
    return {"macro": macro, "micro": [row.micro or Cell(None) for row in rows]}


def columns_of(rows: Sequence[TableRow]) -> list[str]:
    """The tasks that some row has, in the benchmark's order."""
    return [c for c in COLUMNS if any(c in row.tasks for row in rows)]


def row_notes(rows: Sequence[TableRow]) -> list[str]:
    """``row: note``, each once, in order."""
    return list(dict.fromkeys(f"{row.name.strip()}: {note}" for row in rows for note in row.notes))
