"""What an experiment's runs came to: curves, numbers at both ends, sample responses."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from verl_vsi.evaluation.curves import Run, Series, read_run
from verl_vsi.evaluation.result import versions
from verl_vsi.experiments.plans import Experiment
from verl_vsi.experiments.responses import read_dumps, samples, steps_of
from verl_vsi.experiments.runs import Training
from verl_vsi.miniature.story import base_folder

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


def curves(run: Run) -> dict[str, Curve]:
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
            "start": _mean(run[name][:ENDS] for run in several),
            "end": _mean(run[name][-ENDS:] for run in several),
            "lowest end": min(_mean([run[name][-ENDS:]]) for run in several),
            "highest end": max(_mean([run[name][-ENDS:]]) for run in several),
        }
        for name in names
    }


def _mean(parts: Iterable[Curve]) -> float:
    return round(mean(value for part in parts for _, value in part), 4)
