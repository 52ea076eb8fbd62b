"""An experiment's picture: a panel a measure, a line an arm; faint lines are its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from verl_vsi.data_adapters.files import atomic_path
from verl_vsi.evaluation.figures import COLOURS, LINES, STYLE
from verl_vsi.experiments.plans import SHARE, Panel

COLUMNS = 3


def draw(record: Mapping[str, Any], panels: Sequence[Panel], path: Path) -> None:
    """Draw the panels that some run has a curve for.

    Args:
        record: what `record.make_record` gave.
        panels: in reading order.
        path: the picture; .png or .pdf.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [panel for panel in panels if any(panel[0] in run["curves"] for run in record["runs"])]
    rows = -(-len(panels) // COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.4 * COLUMNS, 2.5 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for axis, (measure, title, unit) in zip(axes, panels, strict=False):
            axis.set(title=title, ylabel=unit, xlabel="training step")
            axis.xaxis.get_major_locator().set_params(integer=True)
            for place, label in enumerate(record["ends"]):
                _arm(axis, [r["curves"].get(measure, []) for r in record["runs"] if r["label"] == label], label, place)
            if unit == SHARE:
                axis.set_ylim(-0.03, 1.03)
        for axis in axes[len(panels) :]:
            axis.remove()
        handles = {label: handle for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4, frameon=False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200)


def _arm(axis: Any, curves: Sequence[Sequence[Sequence[float]]], label: str, place: int) -> None:
    """The mean over seeds, and each seed faintly."""
    curves = [curve for curve in curves if curve]
    if not curves:
        return
    colour = COLOURS[place % len(COLOURS)]
    if len(curves) > 1:
        for curve in curves:
            axis.plot(*zip(*curve, strict=True), color=colour, alpha=0.3, linewidth=0.7)
    steps, values = _mean(curves)
    axis.plot(steps, values, color=colour, linestyle=LINES[place % len(LINES)], label=label)


def _mean(curves: Sequence[Sequence[Sequence[float]]]) -> tuple[list[float], list[float]]:
    """Over the steps that all of them have."""
    by_step = [{point[0]: point[1] for point in curve} for curve in curves]
    steps = sorted(set.intersection(*(set(curve) for curve in by_step)))
    return steps, [mean(curve[step] for curve in by_step) for step in steps]
