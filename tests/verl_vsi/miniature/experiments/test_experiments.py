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
from verl_vsi.miniature.experiments.record import draw, make_record
from verl_vsi.miniature.experiments.run_experiment import run_experiment, show
from verl_vsi.miniature.experiments.training_runs import Training, phases, trainings
from verl_vsi.miniature.experiments.variants import EXPERIMENTS, Experiment

TEXT = {"KL on": "<think>a</think><answer>2</answer>", "KL off": "<answer>2</answer>"}


def write_run(training: Training, steps: int) -> None:
    """What verl leaves of a run: metrics and responses."""
    for folder in ("metrics", "rollouts"):
        (training.run / folder).mkdir(parents=True)
    lines = []
    for step in range(1, steps + 1):
        data = {"critic/score/mean": step / 10 + training.seed, "response_length/mean": 7.0}
        data |= {"training/rollout_actor_probs_pearson_corr": 1 - step / 1000}
        lines.append(json.dumps({"step": step, "data": data}))
        row = {"output": TEXT[training.arm.label], "gts": "2", "score": 1.0}
        (training.responses / f"{step}.jsonl").write_text(json.dumps(row) + "\n")
    (training.run / "metrics" / "a.jsonl").write_text("\n".join(lines))


@pytest.fixture
def small() -> Experiment:
    return replace(EXPERIMENTS["kl"], seeds=2, steps=10)


def test_a_record_has_both_ends_over_the_seeds(small: Experiment, tmp_path: Path) -> None:
    trained = list(trainings(small, tmp_path))
    for training in trained:
        write_run(training, small.steps)
    record = make_record(small, trained, dict.fromkeys((t.name for t in trained), 1.0))
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
    show(record, small, Console(file=out, width=150))
    assert "0.8 to 1.3 [0.8, 1.8]" in out.getvalue()


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_run_composes_and_differs_from_its_neighbours(experiment: Experiment, tmp_path: Path) -> None:
    several = list(trainings(experiment, tmp_path))
    assert len({training.name for training in several}) == len(several) == len(experiment.arms) * experiment.seeds
    with composer() as compose:
        for arm in experiment.arms:
            config = compose.recipe(["vsgrpo_miniature", *arm.words])
            assert config.vsi.mode.tag == arm.tag, arm.label
    assert len(phases(experiment, tmp_path)) == 6 + len(several)


def test_an_unknown_experiment_names_those_there_are() -> None:
    result = CliRunner().invoke(app, ["nope"])
    assert result.exit_code == 2
    assert "hacking" in result.output


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(3600)
def test_an_experiment_runs_and_goes_on(tmp_path: Path) -> None:
    """Minutes: pytest -m slow tests/verl_vsi/experiments"""
    small = replace(EXPERIMENTS["hacking"], steps=2)
    record = json.loads(run_experiment(small, tmp_path, Console()).read_text())
    assert record["correlation"] > 0.999
    assert all(len(run["curves"]["strict"]) == 2 for run in record["runs"])
    before = [(training.run / "metrics").stat().st_mtime for training in trainings(small, tmp_path)]
    run_experiment(small, tmp_path, Console())
    assert before == [(training.run / "metrics").stat().st_mtime for training in trainings(small, tmp_path)]
