"""Run an experiment, go on with it, and show what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verl_vsi.data_adapters.files import write_text
from verl_vsi.miniature.experiments.record import draw, make_record
from verl_vsi.miniature.experiments.training_runs import phases, trainings
from verl_vsi.miniature.experiments.variants import Experiment
from verl_vsi.miniature.pipeline import run_phases


def run_experiment(experiment: Experiment, folder: Path, console: Console) -> Path:
    """Run what is not done yet; write ``<folder>/<name>.json`` and ``.png`` and print both ends of every curve.

    Args:
        experiment: one of `plans.EXPERIMENTS`.
        folder: of all experiments; rooms and rows are shared.
        console: where it is shown.

    Returns:
        the JSON file.

    Raises:
        PhaseError: a run failed; what is done is kept.
    """
    console.print(f"{experiment.question} Logs: {folder / 'logs'}", soft_wrap=True)
    seconds = run_phases(phases(experiment, folder), folder, console)
    record = make_record(experiment, list(trainings(experiment, folder)), seconds)
    path = folder / f"{experiment.name}.json"
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    draw(record, experiment.panels, path.with_suffix(".png"))
    show(record, experiment, console)
    console.print(f"written: {path}, {path.with_suffix('.png')}", soft_wrap=True)
    return path


def show(record: Mapping[str, Any], experiment: Experiment, console: Console) -> None:
    """A table of starts and ends, and the best rewarded responses of each arm's last step."""
    table = Table("measure", *record["ends"], box=None, padding=(0, 2, 0, 0))
    for measure, title, _ in experiment.panels:
        cells = [_cell(found.get(measure)) for found in record["ends"].values()]
        if any(cells):
            table.add_row(title, *cells)
    console.print(table)
    console.print(f"correlation of rollout and actor: {record['correlation']:.6f} or more in every step")
    for run in record["runs"]:
        for sample in list(run.get("samples", {}).values())[-1:]:
            best = sample[0]
            console.print(f"{run['label']}, seed {run['seed']}: {escape(best['response'])}", soft_wrap=True)


def _cell(found: Mapping[str, float] | None) -> str:
    """Start and end, and the seeds' ends where they differ."""
    if found is None:
        return ""
    low, high = found["lowest end"], found["highest end"]
    spread = f" [{low:.3g}, {high:.3g}]" if low != high else ""
    return f"{found['start']:.3g} to {found['end']:.3g}{spread}"
