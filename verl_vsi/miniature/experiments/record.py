"""What an experiment's runs came to: curves, numbers at both ends, sample responses."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from verl_vsi.data_adapters.files import atomic_path
from verl_vsi.evaluation.report.figures import COLOURS, LINES, STYLE
from verl_vsi.evaluation.report.training_logs import Series, TrainingRun, read_run
from verl_vsi.evaluation.score.result import versions
from verl_vsi.miniature.demo import base_folder
from verl_vsi.miniature.experiments.responses import read_dumps, samples, steps_of
from verl_vsi.miniature.experiments.training_runs import Training
from verl_vsi.miniature.experiments.variants import SHARE, Experiment, Panel

# MERGED An experiment's picture: a panel a measure, a line an arm; faint lines are its seeds.


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


MEASURES = {
    "reward": "critic/score/mean",
    "accuracy": "train-aux/all/reward/accuracy/mean",
    "format": "train-aux/all/reward/format/mean",
    "length": "train-aux/all/reward/length/mean",
    "tokens": "response_length/mean",
    "kl": "actor/kl_loss",
    "entropy": "actor/entropy",
    "correlation": "training/rollout_actor_probs_pearson_corr",
}
"""Our names of verl's metrics."""

ENDS = 5
"""Steps that a number at the start or at the end is the mean of."""

Curve = list[list[float]]
"""[step, value] pairs."""


def make_record(experiment: Experiment, trained: Sequence[Training], seconds: Mapping[str, float]) -> dict[str, Any]:
    """All of it as JSON.

    Keys: ``experiment``, ``question``, ``steps``, ``base`` (sha256 of the weights that all runs start from), ``runs``
    (each with ``label``, ``seed``, ``command``, ``seconds``, ``curves``, ``samples``), ``ends`` (label -> measure ->
    start and end, means over seeds and `ENDS` steps), ``correlation`` (the lowest of rollout and actor in any step),
    ``versions``.
    """
    runs = [_run(training, seconds[training.name]) for training in trained]
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "steps": experiment.steps,
        "base": sha256((experiment.model or base_folder()) / "model.safetensors"),
        "ends": {arm.label: ends(_curves_of(runs, arm.label)) for arm in experiment.arms},
        "correlation": min(value for run in runs for _, value in run["curves"]["correlation"]),
        "versions": versions(),
        "runs": runs,
    }


def sha256(file: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _curves_of(runs: Sequence[Mapping[str, Any]], label: str) -> list[dict[str, Curve]]:
    return [run["curves"] for run in runs if run["label"] == label]


def _run(training: Training, seconds: float) -> dict[str, Any]:
    found = curves(read_run(training.run, training.name))
    record: dict[str, Any] = {
        "label": training.arm.label,
        "seed": training.seed,
        "command": shlex.join(("python", "-m", "verl.trainer.main_ppo", *training.words)),
        "seconds": seconds,
    }
    if training.arm.tag:
        dumps = read_dumps(training.responses)
        found |= steps_of(dumps, training.arm.tag)
        record["samples"] = {str(step): samples(dumps[step], training.arm.tag) for step in (min(dumps), max(dumps))}
    return {**record, "curves": found}


def curves(run: TrainingRun) -> dict[str, Curve]:
    """Measure -> curve of training steps, those that the run has, and the held-out score."""
    found = {name: run.series(metric) for name, metric in MEASURES.items()} | {"held_out": run.held_out()}
    return {name: _pairs(series) for name, series in found.items() if series is not None}


def _pairs(series: Series) -> Curve:
    return [[int(step), round(float(value), 6)] for step, value in zip(series.steps, series.values, strict=True)]


def ends(several: Sequence[Mapping[str, Curve]]) -> dict[str, dict[str, float]]:
    """Measure -> mean over the first and over the last `ENDS` steps of all runs; and the lowest and highest run's end.

    The held-out score is of a few steps only, and stays a curve.
    """
    names = [name for name in several[0] if name != "held_out"]
    return {
        name: {
            "start": _seed_mean(run[name][:ENDS] for run in several),
            "end": _seed_mean(run[name][-ENDS:] for run in several),
            "lowest end": min(_seed_mean([run[name][-ENDS:]]) for run in several),
            "highest end": max(_seed_mean([run[name][-ENDS:]]) for run in several),
        }
        for name in names
    }


def _seed_mean(parts: Iterable[Curve]) -> float:
    return round(mean(value for part in parts for _, value in part), 4)
