"""The paper's rows beside ours: every printed row, our result of it where there is one, and the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verl_vsi.evaluation.published import PublishedRow, PublishedTable
from verl_vsi.evaluation.result import ROW_LABEL, Result
from verl_vsi.evaluation.tables import Cell, Row, cell, result_row
from verl_vsi.evaluation.taskset import COLUMNS, VSIBENCH


def published_row(row: PublishedRow) -> Row:
    """A printed row; where its average is not the mean of its tasks, a note says so.

    The paper prints its T and O models twice, so their rows name the prompt.
    """
    cautions = row.cautions
    if not row.adds_up and not cautions:
        cautions = (f"the printed average, {row.average:.1f}, is not the mean of its own row, {row.recomputed:.1f}",)
    prompt = f", {row.mode} prompt" if row.trained in ("vsGRPO-T", "vsGRPO-O") else ""
    return Row(row.name + prompt, Cell(row.average), {c: Cell(row.tasks[c]) for c in COLUMNS}, cautions)


def table_beside(table: PublishedTable, results: Sequence[Result]) -> list[Row]:
    """Printed rows, each followed by ours and the difference where a result carries the row's label.

    Args:
        table: of `published`.
        results: of `verl-vsi eval --table`, or others (which stand at the end).
    """
    ours = by_row(results)
    rows: list[Row] = []
    for printed in table.rows:
        rows.append(published_row(printed))
        if printed.size and (result := ours.get(printed.key)):
            rows += [_ours(result), difference(result, printed)]
    return rows


def by_row(results: Sequence[Result]) -> Mapping[str, Result]:
    """Results by the row of the paper that they were made for."""
    return {str(r.labels[ROW_LABEL]): r for r in results if r.labels.get(ROW_LABEL)}


def difference(result: Result, printed: PublishedRow) -> Row:
    """Ours minus printed, with our interval (the paper prints none)."""
    scores = result.scores["score"]
    notes = [] if result.wanted == VSIBENCH else [f"ours is a {result.wanted.label}: not the same average"]
    overall = _minus(cell(scores.overall), printed.average) if not notes else Cell(None)
    tasks = {c: _minus(cell(scores.tasks[c]), printed.tasks[c]) if c in scores.tasks else Cell(None) for c in COLUMNS}
    return Row("  ours − printed", overall, tasks, tuple(notes))


def _ours(result: Result) -> Row:
    row = result_row(result)
    labels = result.labels
    said = f"{labels['frames']}, {labels['prompts']}, {labels['extraction']} extraction, {labels['decoding']}"
    return Row(f"  ours: {row.name}", row.overall, row.tasks, (said,))


def _minus(ours: Cell, printed: float | None) -> Cell:
    if printed is None or ours.mean is None or ours.low is None or ours.high is None:
        return Cell(None)
    return Cell(ours.mean - printed, ours.low - printed, ours.high - printed, signed=True)
