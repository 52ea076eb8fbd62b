"""Run an experiment, go on with it, and show what came out: a table, and a picture with a line a variant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verl_vsi.data_adapters.files import atomic_path, write_text
from verl_vsi.evaluation.report.figures import COLOURS, LINES, STYLE
from verl_vsi.miniature.experiments.record import Curve, make_record
from verl_vsi.miniature.experiments.training_runs import experiment_stages, training_runs
from verl_vsi.miniature.experiments.variants import SHARE, Experiment, Panel
from verl_vsi.miniature.pipeline import run_stages


def run_experiment(experiment: Experiment, folder: Path, console: Console) -> Path:
    """Run what is not done yet; write ``<folder>/<name>.json`` and ``.png`` and print both ends of every curve.

    Args:
        experiment: one of `variants.EXPERIMENTS`.
        folder: of all experiments; rooms and rows are shared.
        console: where it is shown.

    Returns:
        the JSON file.

    Raises:
        StageError: a run failed; what is done is kept.
    """
    console.print(f"{experiment.question} Logs: {folder / 'logs'}", soft_wrap=True)
    seconds = run_stages(experiment_stages(experiment, folder), folder, console)
    record = make_record(experiment, list(training_runs(experiment, folder)), seconds)
    path = folder / f"{experiment.name}.json"
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    draw(record, experiment.panels, path.with_suffix(".png"))
    show(record, experiment.panels, console)
    console.print(f"written: {path}, {path.with_suffix('.png')}", soft_wrap=True)
    return path


def show(record: Mapping[str, Any], panels: Sequence[Panel], console: Console) -> None:
    """A table of starts and ends, and the best rewarded responses of each variant's last step.

    Args:
        record: what `make_record` gave.
        panels: the measures, in reading order.
        console: where it is shown.
    """
    table = Table("measure", *record["ends"], box=None, padding=(0, 2, 0, 0))
    for panel in panels:
        cells = [_cell(ends.get(panel.measure)) for ends in record["ends"].values()]
        if any(cells):
            table.add_row(panel.title, *cells)
    console.print(table)
    console.print(f"correlation of rollout and actor: {record['correlation']:.6f} or more in every step")
    for run in record["runs"]:
        for sample in list(run.get("samples", {}).values())[-1:]:
            best = sample[0]
            console.print(f"{run['label']}, seed {run['seed']}: {escape(best['response'])}", soft_wrap=True)


def _cell(ends: Mapping[str, float] | None) -> str:
    """Start and end, and the seeds' ends where they differ."""
    if ends is None:
        return ""
    low, high = ends["lowest end"], ends["highest end"]
    spread = f" [{low:.3g}, {high:.3g}]" if low != high else ""
    return f"{ends['start']:.3g} to {ends['end']:.3g}{spread}"


COLUMNS = 3


def draw(record: Mapping[str, Any], panels: Sequence[Panel], path: Path) -> None:
    """Draw the panels that some run has a curve for.

    Args:
        record: what `make_record` gave.
        panels: in reading order.
        path: the picture; .png or .pdf.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [panel for panel in panels if any(panel.measure in run["curves"] for run in record["runs"])]
    rows = -(-len(panels) // COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.4 * COLUMNS, 2.5 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for axis, panel in zip(axes, panels, strict=False):
            _draw_panel(axis, panel, record)
        for axis in axes[len(panels) :]:
            axis.remove()
        handles = {label: handle for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4, frameon=False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200)


def _draw_panel(axis: Any, panel: Panel, record: Mapping[str, Any]) -> None:
    axis.set(title=panel.title, ylabel=panel.unit, xlabel="training step")
    axis.xaxis.get_major_locator().set_params(integer=True)
    for number, label in enumerate(record["ends"]):
        curves = [run["curves"].get(panel.measure) for run in record["runs"] if run["label"] == label]
        _draw_variant(axis, [curve for curve in curves if curve], label, number)
    if panel.unit == SHARE:
        axis.set_ylim(-0.03, 1.03)


def _draw_variant(axis: Any, curves: Sequence[Curve], label: str, number: int) -> None:
    """The mean over seeds, and each seed faintly."""
    if not curves:
        return
    colour = COLOURS[number % len(COLOURS)]
    if len(curves) > 1:
        for curve in curves:
            axis.plot(*zip(*curve, strict=True), color=colour, alpha=0.3, linewidth=0.7)
    steps, values = _mean_curve(curves)
    axis.plot(steps, values, color=colour, linestyle=LINES[number % len(LINES)], label=label)


def _mean_curve(curves: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """Over the steps that all of them have."""
    by_step = [{point[0]: point[1] for point in curve} for curve in curves]
    steps = sorted(set.intersection(*(set(curve) for curve in by_step)))
    return steps, [mean(curve[step] for curve in by_step) for step in steps]
