"""The papers' own numbers, shipped as data (`published.json`), with what to know before comparing with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from verl_vsi.evaluation.task_columns import COLUMNS

ROUNDING = 0.15
"""Per cent by which a mean of rounded numbers may differ from the printed average."""


@dataclass(frozen=True)
class PublishedRow:
    """A row as it was printed, in per cent.

    Args:
        name: as printed.
        average: as printed; None: not printed.
        tasks: by `task_columns.COLUMNS` names; None: not printed.
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
    """A printed table.

    Args:
        title: paper and table.
        source: arXiv number and version.
        cautions: what to know before comparing with any of its rows.
        rows: in the order of the paper.
    """

    title: str
    source: str
    cautions: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@cache
def published() -> Mapping[str, PublishedTable]:
    """Every table that ships: ``table1``, ``table2`` (2504.00883), ``vsibench`` and its kin (2412.14171)."""
    record = json.loads((files("verl_vsi.evaluation.score") / "published.json").read_text(encoding="utf-8"))
    return {name: _table(node) for name, node in record["tables"].items()}


def _table(node: Mapping[str, Any]) -> PublishedTable:
    rows = tuple(PublishedRow(**{**row, "cautions": tuple(row.get("cautions", ()))}) for row in node["rows"])
    return PublishedTable(node["title"], node["source"], tuple(node["cautions"]), rows)
