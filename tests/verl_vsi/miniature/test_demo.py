"""The whole demonstration, small: real verl trainers, a real vLLM, a run that is killed, one that goes on after it."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.evaluation.report.training_logs import read_run
from verl_vsi.miniature.demo import Demo, training_stages
from verl_vsi.miniature.pipeline import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

STEPS = 2
"""Of vsGRPO in `demo_folder`."""


def vsgrpo(folder: Path, steps: int) -> Stage:
    stage = training_stages(Demo(folder, vsgrpo_steps=steps))[1]
    assert stage.name == "vsgrpo"
    return stage


def metrics(folder: Path) -> list[dict[str, Any]]:
    """One record a step, start after start."""
    files = sorted((folder / "vsgrpo" / "metrics").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def saved_step(folder: Path) -> int:
    path = folder / "vsgrpo" / "latest_checkpointed_iteration.txt"
    return int(path.read_text()) if path.exists() else 0


def test_the_report_holds_every_model_and_floor(demo_folder: Path) -> None:
    report = json.loads((demo_folder / "report.json").read_text())
    for key in ("base", "sft", "vsgrpo", "shuffled", "blind", "chance"):
        assert set(report[key]) == {"overall", "tasks", "reward"}
        assert len(report[key]["tasks"]) == 6
        assert 0 <= report[key]["overall"]["mean"] <= 1
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"].values()) / 2, abs=1)
    assert {"verl", "torch", "verl-vsi"} <= set(report["versions"])


def test_pictures_are_drawn(demo_folder: Path) -> None:
    assert (demo_folder / "report" / "curves.png").stat().st_size > 10_000
    assert (demo_folder / "report" / "tasks.png").stat().st_size > 10_000


def test_training_moves_the_weights_that_are_scored(demo_folder: Path) -> None:
    answers = {}
    for model in ("base", "sft", "vsgrpo"):
        result = json.loads((demo_folder / "eval" / model / "normal.json").read_text())
        assert result["rates"]["failed"] == 0
        answers[model] = [answer["response"] for answer in result["answers"]]
    assert answers["base"] != answers["sft"]


def test_rollout_and_actor_see_the_same_video(demo_folder: Path) -> None:
    correlations = [r["data"]["training/rollout_actor_probs_pearson_corr"] for r in metrics(demo_folder) if r["step"]]
    assert len(correlations) >= STEPS
    assert min(correlations) > 0.999


def test_a_training_keeps_answers_of_each_step_and_its_curves(demo_folder: Path) -> None:
    rollouts = (demo_folder / "vsgrpo" / "rollouts" / "1.jsonl").read_text().splitlines()
    assert len(rollouts) == 2 * 14
    assert {"input", "output", "gts", "score"} <= json.loads(rollouts[0]).keys()
    assert (demo_folder / "vsgrpo" / "curves.png").stat().st_size > 10_000


def test_kl_is_in_the_loss_and_grows_from_nothing(demo_folder: Path) -> None:
    losses = [record["data"]["actor/kl_loss"] for record in metrics(demo_folder) if record["step"]]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses[1] > 0


def test_a_killed_run_goes_on_from_its_last_checkpoint(demo_folder: Path) -> None:
    killed = vsgrpo(demo_folder, 40)
    log = demo_folder / "killed.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*killed.command, "trainer.save_freq=1"], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + 400
    while saved_step(demo_folder) < STEPS + 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
    assert process.poll() is None, f"it ended before it was killed: {log.read_text(errors='replace')[-6000:]}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reached = saved_step(demo_folder)
    assert reached >= STEPS + 1, log.read_text(errors="replace")[-3000:]
    command = vsgrpo(demo_folder, reached + 1).command
    resumed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert resumed.returncode == 0, resumed.stdout[-3000:]
    assert saved_step(demo_folder) == reached + 1
    steps = [record["step"] for record in metrics(demo_folder)]
    assert steps[-1] == reached + 1
    assert 1 not in steps[STEPS + 1 :], "it started anew instead of going on"
    curve = read_run(demo_folder / "vsgrpo").series("actor/kl_loss")
    assert curve is not None
    assert curve.steps.tolist() == [*range(1, reached + 2)], "the starts' logs are to make one full curve"


def test_the_demonstration_run_again_repeats_nothing(demo_folder: Path, demo_command: list[str]) -> None:
    second = subprocess.run([*demo_command, "--folder", str(demo_folder)], capture_output=True, text=True, check=True)
    assert len(re.findall(r"done before", second.stdout)) == 12
