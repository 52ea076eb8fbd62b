"""What an experiment's runs came to, as JSON: curves, numbers at both ends, sample responses."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from verl_vsi.data_adapters.files import sha256
from verl_vsi.evaluation.report.training_logs import Series, TrainingLog, read_run
from verl_vsi.evaluation.score.result import versions
from verl_vsi.miniature.demo import base_folder
from verl_vsi.miniature.experiments.responses import read_dumps, samples, share_curves
from verl_vsi.miniature.experiments.training_runs import TrainingRun
from verl_vsi.miniature.experiments.variants import Experiment

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

Curve = list[list[float]]
"""[step, value] pairs."""


def make_record(experiment: Experiment, runs: Sequence[TrainingRun], seconds: Mapping[str, float]) -> dict[str, Any]:
    """All of it.

    Keys: ``experiment``, ``question``, ``steps``, ``base`` (sha256 of the weights that all runs start from), ``runs``
    (each with ``label``, ``seed``, ``command``, ``seconds``, ``curves``, ``samples``), ``ends`` (label -> measure ->
    start and end, means over seeds and `ENDS` steps), ``correlation`` (the lowest of rollout and actor in any step),
    ``versions``.

    Args:
        experiment: what was compared.
        runs: all of its runs, trained.
        seconds: by the run's name.
    """
    records = [_run(run, seconds[run.name]) for run in runs]
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "steps": experiment.steps,
        "base": sha256((experiment.model or base_folder()) / "model.safetensors"),
        "ends": {
            variant.label: ends([record["curves"] for record in records if record["label"] == variant.label])
            for variant in experiment.variants
        },
        "correlation": min(value for record in records for _, value in record["curves"]["correlation"]),
        "versions": versions(),
        "runs": records,
    }


def _run(run: TrainingRun, seconds: float) -> dict[str, Any]:
    record: dict[str, Any] = {
        "label": run.variant.label,
        "seed": run.seed,
        "command": shlex.join(("python", "-m", "verl.trainer.main_ppo", *run.overrides)),
        "seconds": seconds,
    }
    measured = curves(read_run(run.run_folder, run.name))
    if tag := run.variant.tag:
        dumps = read_dumps(run.dumps)
        measured |= share_curves(dumps, tag)
        record["samples"] = {str(step): samples(dumps[step], tag) for step in (min(dumps), max(dumps))}
    return {**record, "curves": measured}


def curves(log: TrainingLog) -> dict[str, Curve]:
    """Measure -> curve of training steps, those that the run has, and the held-out score."""
    series = {name: log.series(metric) for name, metric in MEASURES.items()} | {"held_out": log.held_out()}
    return {name: _curve(one) for name, one in series.items() if one is not None}


def _curve(series: Series) -> Curve:
    return [[int(step), round(float(value), 6)] for step, value in zip(series.steps, series.values, strict=True)]


ENDS = 5
"""Steps that a number at the start or at the end is the mean of."""


def ends(runs: Sequence[Mapping[str, Curve]]) -> dict[str, dict[str, float]]:
    """Measure -> mean over the first and over the last `ENDS` steps of all runs; and the lowest and highest run's end.

    The held-out score is of a few steps only, and stays a curve.
    """
    return {
        name: {
            "start": _seed_mean(run[name][:ENDS] for run in runs),
            "end": _seed_mean(run[name][-ENDS:] for run in runs),
            "lowest end": min(_seed_mean([run[name][-ENDS:]]) for run in runs),
            "highest end": max(_seed_mean([run[name][-ENDS:]]) for run in runs),
        }
        for name in runs[0]
        if name != "held_out"
    }


def _seed_mean(parts: Iterable[Curve]) -> float:
    return round(mean(value for part in parts for _, value in part), 4)
