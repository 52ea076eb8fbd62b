"""The paper's rows beside ours: every printed row, our result of it where there is one, and the difference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from verl_vsi.evaluation.report.tables import Cell, TableRow, cell, result_row
from verl_vsi.evaluation.score.result import ROW_LABEL, Result
from verl_vsi.evaluation.score.task_columns import COLUMNS, VSIBENCH

# MERGED The papers' own numbers, shipped as data, with their cautions.


ROUNDING = 0.15
"""Per cent by which a mean of rounded numbers may differ from the printed average."""


@dataclass(frozen=True)
class PublishedRow:
    """A row as it was printed, in per cent.

    Args:
        name: as printed.
        average: as printed; None: not printed.
        tasks: by `taskset.COLUMNS` names; None: not printed.
        size: ``2B`` or ``7B`` for the paper's own models.
        trained: SFT, DPO, vsGRPO-T, -O, -V; None: untrained.
        mode: of the evaluation prompt.
        cautions: what to know before comparing with it.
    """

    name: str
    average: float | None
    tasks: Mapping[str, float | None]
    size: str | None = None
    trained: str | None = None
    mode: str | None = None
    cautions: tuple[str, ...] = ()

    @property
    def recomputed(self) -> float | None:
        """The mean of the row's eight tasks; None where one is not printed."""
        values = [v for c in COLUMNS if (v := self.tasks[c]) is not None]
        return sum(values) / len(COLUMNS) if len(values) == len(COLUMNS) else None

    @property
    def adds_up(self) -> bool:
        """Whether the printed average is the mean of the printed tasks."""
        if self.average is None or self.recomputed is None:
            return True
        return abs(self.average - self.recomputed) <= ROUNDING

    @property
    def key(self) -> str:
        """Names a row of the paper's own models, e.g. ``2B vsGRPO-T think``."""
        return f"{self.size} {self.trained or 'base'} {self.mode}"


@dataclass(frozen=True)
class PublishedTable:
    """A printed table."""

    title: str
    source: str
    cautions: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@cache
def published() -> Mapping[str, PublishedTable]:
    """Every table that ships: ``table1``, ``table2`` (2504.00883), ``vsibench`` and its kin (2412.14171)."""
    record = json.loads((files("verl_vsi.evaluation.report") / "published.json").read_text(encoding="utf-8"))
    return {name: _table(node) for name, node in record["tables"].items()}


def _table(node: Mapping[str, object]) -> PublishedTable:
    rows: list[dict[str, object]] = node["rows"]  # pyright: ignore[reportAssignmentType]
    made = [PublishedRow(**{**row, "cautions": tuple(row.get("cautions", ()))}) for row in rows]  # pyright: ignore
    return PublishedTable(str(node["title"]), str(node["source"]), tuple(node["cautions"]), tuple(made))  # pyright: ignore


def published_row(row: PublishedRow) -> TableRow:
    """A printed row; where its average is not the mean of its tasks, a note says so.

    The paper prints its T and O models twice, so their rows name the prompt.
    """
    cautions = row.cautions
    if not row.adds_up and not cautions:
        cautions = (f"the printed average, {row.average:.1f}, is not the mean of its own row, {row.recomputed:.1f}",)
    prompt = f", {row.mode} prompt" if row.trained in ("vsGRPO-T", "vsGRPO-O") else ""
    return TableRow(row.name + prompt, Cell(row.average), {c: Cell(row.tasks[c]) for c in COLUMNS}, cautions)


def table_beside(table: PublishedTable, results: Sequence[Result]) -> list[TableRow]:
    """Printed rows, each followed by ours and the difference where a result carries the row's label.

    Args:
        table: of `published`.
        results: of `verl-vsi eval --table`, or others (which stand at the end).
    """
    ours = by_row(results)
    rows: list[TableRow] = []
    for printed in table.rows:
        rows.append(published_row(printed))
        if printed.size and (result := ours.get(printed.key)):
            rows += [_ours(result), difference(result, printed)]
    return rows


def by_row(results: Sequence[Result]) -> Mapping[str, Result]:
    """Results by the row of the paper that they were made for."""
    return {str(r.labels[ROW_LABEL]): r for r in results if r.labels.get(ROW_LABEL)}


def difference(result: Result, printed: PublishedRow) -> TableRow:
    """Ours minus printed, with our interval (the paper prints none)."""
    scores = result.scores["score"]
    notes = [] if result.wanted == VSIBENCH else [f"ours is a {result.wanted.label}: not the same average"]
    overall = _minus(cell(scores.overall), printed.average) if not notes else Cell(None)
    tasks = {c: _minus(cell(scores.tasks[c]), printed.tasks[c]) if c in scores.tasks else Cell(None) for c in COLUMNS}
    return TableRow("  ours − printed", overall, tasks, tuple(notes))


def _ours(result: Result) -> TableRow:
    row = result_row(result)
    labels = result.labels
    said = f"{labels['frames']}, {labels['prompts']}, {labels['extraction']} extraction, {labels['decoding']}"
    return TableRow(f"  ours: {row.name}", row.overall, row.tasks, (said,))


def _minus(ours: Cell, printed: float | None) -> Cell:
    if printed is None or ours.mean is None or ours.low is None or ours.high is None:
        return Cell(None)
    return Cell(ours.mean - printed, ours.low - printed, ours.high - printed, signed=True)
