"""Experiments compose, are told apart, and come to a record and a picture; a small one runs through the real verl."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from verl_vsi.commands.experiment import app
from verl_vsi.config.recipes import composer
from verl_vsi.miniature.experiments.record import make_record
from verl_vsi.miniature.experiments.run_experiment import draw, run_experiment, show
from verl_vsi.miniature.experiments.training_runs import TrainingRun, experiment_stages, training_runs
from verl_vsi.miniature.experiments.variants import EXPERIMENTS, Experiment

TEXT = {"KL on": "<think>a</think><answer>2</answer>", "KL off": "<answer>2</answer>"}


def write_run(run: TrainingRun, steps: int) -> None:
    """What verl leaves of a run: metrics and responses."""
    for folder in ("metrics", "rollouts"):
        (run.run_folder / folder).mkdir(parents=True)
    lines = []
    for step in range(1, steps + 1):
        data = {"critic/score/mean": step / 10 + run.seed, "response_length/mean": 7.0}
        data |= {"training/rollout_actor_probs_pearson_corr": 1 - step / 1000}
        lines.append(json.dumps({"step": step, "data": data}))
        row = {"output": TEXT[run.variant.label], "gts": "2", "score": 1.0}
        (run.dumps / f"{step}.jsonl").write_text(json.dumps(row) + "\n")
    (run.run_folder / "metrics" / "a.jsonl").write_text("\n".join(lines))


@pytest.fixture
def small() -> Experiment:
    return replace(EXPERIMENTS["kl"], seeds=2, steps=10)


def test_a_record_has_both_ends_over_the_seeds(small: Experiment, tmp_path: Path) -> None:
    runs = list(training_runs(small, tmp_path))
    for run in runs:
        write_run(run, small.steps)
    record = make_record(small, runs, dict.fromkeys((run.name for run in runs), 1.0))
    reward = record["ends"]["KL on"]["reward"]
    # seeds 0 and 1: means over steps 1 to 5 and 6 to 10, .3 and .8, plus the seed
    assert reward == {"start": 0.8, "end": 1.3, "lowest end": 0.8, "highest end": 1.8}
    assert record["ends"]["KL on"]["strict"]["end"] == 1.0
    assert record["ends"]["KL off"]["strict"]["end"] == 0.0
    assert record["correlation"] == pytest.approx(0.99)
    assert "held_out" not in record["ends"]["KL on"]
    assert str(tmp_path) not in json.dumps(record), "a result names no folder of this machine"

    draw(record, small.panels, tmp_path / "kl.png")
    assert (tmp_path / "kl.png").stat().st_size > 10_000
    out = io.StringIO()
    show(record, small.panels, Console(file=out, width=150))
    assert "0.8 to 1.3 [0.8, 1.8]" in out.getvalue()


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_run_composes_and_differs_from_its_neighbours(experiment: Experiment, tmp_path: Path) -> None:
    runs = list(training_runs(experiment, tmp_path))
    assert len({run.name for run in runs}) == len(runs) == len(experiment.variants) * experiment.seeds
    with composer() as compose:
        for variant in experiment.variants:
            config = compose.recipe(["vsgrpo_miniature", *variant.overrides])
            assert config.vsi.mode.tag == variant.tag, variant.label
    assert len(experiment_stages(experiment, tmp_path)) == 6 + len(runs)


def test_an_unknown_experiment_names_those_there_are() -> None:
    result = CliRunner().invoke(app, ["nope"])
    assert result.exit_code == 2
    assert "hacking" in result.output


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(3600)
def test_an_experiment_runs_and_goes_on(tmp_path: Path) -> None:
    """Minutes: pytest -m slow tests/verl_vsi/miniature/experiments"""
    small = replace(EXPERIMENTS["hacking"], steps=2)
    record = json.loads(run_experiment(small, tmp_path, Console()).read_text())
    assert record["correlation"] > 0.999
    assert all(len(run["curves"]["strict"]) == 2 for run in record["runs"])
    logs = [run.run_folder / "metrics" for run in training_runs(small, tmp_path)]
    before = [log.stat().st_mtime for log in logs]
    run_experiment(small, tmp_path, Console())
    assert before == [log.stat().st_mtime for log in logs]
