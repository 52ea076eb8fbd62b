"""The papers' rows and ours: every printed row, our result of it where there is one, and the difference."""

from __future__ import annotations

from collections.abc import Sequence

from verl_vsi.evaluation.report.tables import Cell, TableRow, estimate_cell, result_row
from verl_vsi.evaluation.score.published import PublishedRow, PublishedTable
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.task_columns import COLUMNS, VSIBENCH


def comparison_rows(table: PublishedTable, results: Sequence[Result]) -> list[TableRow]:
    """Printed rows, each followed by ours and the difference where a result carries the row's label.

    Args:
        table: of `published`.
        results: of `verl-vsi eval --table`; others are left out.
    """
    ours = {result.labels.table_row: result for result in results}
    rows: list[TableRow] = []
    for printed in table.rows:
        rows.append(published_row(printed))
        if printed.size and (result := ours.get(printed.key)):
            rows += [_our_row(result), _difference_row(result, printed)]
    return rows


def published_row(row: PublishedRow) -> TableRow:
    """A printed row; where its average is not the mean of its tasks, a note says so.

    The paper prints its T and O models twice, so their rows name the prompt.
    """
    cautions = row.cautions
    if not row.adds_up and not cautions:
        cautions = (f"the printed average, {row.average:.1f}, is not the mean of its own row, {row.recomputed:.1f}",)
    prompt = f", {row.mode} prompt" if row.trained in ("vsGRPO-T", "vsGRPO-O") else ""
    return TableRow(row.name + prompt, Cell(row.average), {c: Cell(row.tasks[c]) for c in COLUMNS}, cautions)


def _our_row(result: Result) -> TableRow:
    row, labels = result_row(result), result.labels
    protocol = f"{labels.frames}, {labels.prompts}, {labels.extraction} extraction, {labels.decoding}"
    return TableRow(f"  ours: {row.name}", row.overall, row.tasks, (protocol,))


def _difference_row(result: Result, printed: PublishedRow) -> TableRow:
    """Ours minus printed, with our interval (the paper prints none)."""
    scores, task_set = result.scores["score"], result.labels.task_set
    notes = [] if task_set == VSIBENCH else [f"ours is a {task_set.label}: not the same average"]
    overall = _minus(estimate_cell(scores.overall), printed.average) if not notes else Cell(None)
    ours = {c: estimate_cell(scores.tasks[c]) if c in scores.tasks else Cell(None) for c in COLUMNS}
    tasks = {c: _minus(ours[c], printed.tasks[c]) for c in COLUMNS}
    return TableRow("  ours − printed", overall, tasks, tuple(notes))


def _minus(ours: Cell, printed: float | None) -> Cell:
    if printed is None or ours.mean is None or ours.low is None or ours.high is None:
        return Cell(None)
    return Cell(ours.mean - printed, ours.low - printed, ours.high - printed, signed=True)
