"""Results as tables: one row a result, the eight tasks in the benchmark's order. `export` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table

from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import Estimate, Scores
from verl_vsi.evaluation.score.task_columns import COLUMNS, SHORT

MISSING = "–"


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


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Args:
        name: what it is.
        overall: the average.
        tasks: by `taskset.COLUMNS` names.
        notes: labels or cautions that belong to it.
    """

    name: str
    overall: Cell
    tasks: Mapping[str, Cell] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def cell(estimate: Estimate) -> Cell:
    """An estimate in per cent."""
    return Cell(100 * estimate.mean, 100 * estimate.low, 100 * estimate.high)


def scores_row(name: str, scores: Scores, notes: Sequence[str] = ()) -> TableRow:
    """Scores as a line."""
    return TableRow(name, cell(scores.overall), {task: cell(e) for task, e in scores.tasks.items()}, tuple(notes))


def result_row(result: Result) -> TableRow:
    """A result as a line: name and condition."""
    condition = result.labels["condition"]
    return scores_row(result.name + ("" if condition == "normal" else f", {condition}"), result.scores["score"])


def terminal_table(rows: Sequence[TableRow], title: str) -> Table:
    """For the terminal: averages with their intervals, and the tasks."""
    columns = columns_of(rows)
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", min_width=16, overflow="fold")
    for head in ("average", *[SHORT[c].replace(".", ".\n", 1) for c in columns]):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        tasks = [row.tasks.get(c, Cell(None)).text(False).replace(" ±", "\n±") for c in columns]
        table.add_row(row.name, row.overall.text().replace(" [", "\n[").replace(" ±", "\n±"), *tasks)
    return table


def result_table(results: Sequence[Result]) -> Table:
    """Results for the terminal, with what the questions give without a model."""
    rows = [result_row(result) for result in results]
    rows += [scores_row(name.replace("_", " "), scores) for name, scores in results[-1].baselines.items()]
    return terminal_table(rows, ", ".join(sorted({str(r.labels["averaging"]) for r in results})))


def rates_line(result: Result) -> str:
    """The paper's reward, and the rates that tell whether to trust the scores."""
    rates = ", ".join(f"{name} {100 * rate:.1f}%" for name, rate in result.rates.items())
    return f"paper's accuracy reward {result.scores['reward'].overall.mean:.3f}; {rates}"


def usage_line(result: Result) -> str:
    """What happened on the wire: requests, failed ones by cause, tokens, and what they cost."""
    usage = result.usage
    errors = ", ".join(f"{cause} {count} times" for cause, count in usage["errors in this start"].items())
    said = f"{usage['tries']} requests" + (f" (failed in this start: {errors})" if errors else "")
    said += f", {usage['prompt_tokens']} prompt and {usage['completion_tokens']} new tokens"
    return said + (f", {usage['usd']:.4f} USD" if usage["usd"] else "")


def columns_of(rows: Sequence[TableRow]) -> list[str]:
    """The tasks that some row has, in the benchmark's order."""
    return [c for c in COLUMNS if any(c in row.tasks for row in rows)]
