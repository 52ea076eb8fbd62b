"""The table and the picture of `step.py`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

PHASES = {  # colours of Okabe and Ito, told apart by hatching in print
    "gen": ("generation", "#009E73", ""),
    "old_log_prob": ("old log-probabilities", "#E69F00", "//"),
    "ref": ("reference", "#56B4E9", "\\\\"),
    "update_actor": ("update", "#0072B2", ""),
    "update_weights": ("weight sync", "#CC79A7", "xx"),
    "rest": ("rest", "#999999", ".."),
}
NAMES = {
    "verl": "verl",
    "shared": "shared passes",
    "trl": "TRL",
}


def phases(case: dict[str, Any]) -> dict[str, float]:
    """Median seconds of each phase; `rest` is what no phase covers."""
    seconds = {name: median(step.get(name, 0.0) for step in case["steps"]) for name in PHASES if name != "rest"}
    return {**seconds, "rest": max(total(case) - sum(seconds.values()), 0.0)}


def total(case: dict[str, Any], key: str = "step") -> float:
    """Median seconds of a whole step, or its CPU seconds."""
    return median(step[key] for step in case["steps"])


def show(record: dict[str, Any]) -> None:
    """Seconds by phase, and how many times verl's they are."""
    from rich.console import Console
    from rich.table import Table

    cases = {name: record["cases"][name] for name in NAMES if name in record["cases"]}
    table = Table(
        "phase", *(NAMES[name] for name in cases), title=f"seconds of a step, median: {record['about']['what']}"
    )
    ours = cases.get("shared")
    for phase, (label, *_) in PHASES.items():
        table.add_row(label, *(f"{phases(case)[phase]:.2f}" for case in cases.values()))
    for key, label in (("step", "whole step"), ("cpu", "CPU seconds, all processes")):
        table.add_row(label, *(f"{total(case, key):.1f}" for case in cases.values()), style="bold")
        if ours:
            ratios = (f"{total(case, key) / total(ours, key):.1f}x" for case in cases.values())
            table.add_row("  times shared passes", *ratios)
    Console().print(table)


def draw(record: dict[str, Any], path: Path) -> None:
    """Stacked bars: what a step consists of; below, at its own scale, what is left with shared passes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = [name for name in NAMES if name in record["cases"]]
    shared = [name for name in cases if name == "shared"]
    rows = [names for names in (cases, shared) if names]
    figure, panels = pyplot.subplots(
        len(rows), figsize=(7.2, 2.2 + 0.45 * sum(map(len, rows))), squeeze=False, height_ratios=[*map(len, rows)]
    )
    for panel, names in zip(panels[:, 0], rows, strict=True):
        _bars(panel, names, record)
    panels[-1, 0].set_xlabel("seconds of a step")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=3, loc="upper center")
    figure.tight_layout(rect=(0, 0, 1, 0.86))
    figure.savefig(path, dpi=150)


def _bars(panel: Any, names: list[str], record: dict[str, Any]) -> None:
    ends = [0.0] * len(names)
    for phase, (label, colour, hatch) in PHASES.items():
        widths = [phases(record["cases"][name])[phase] for name in names]
        panel.barh(names, widths, left=ends, color=colour, hatch=hatch, edgecolor="white", label=label)
        ends = [a + b for a, b in zip(ends, widths, strict=True)]
    for row, end in enumerate(ends):
        panel.text(end, row, f" {end:.1f} s", va="center")
    panel.set_yticks(range(len(names)), [NAMES[name] for name in names])
    panel.invert_yaxis()
    panel.set_xlim(0, 1.12 * max(ends))
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
