"""The whole story, small: real verl trainers, a real vLLM, a run that is killed, and one that goes on after it."""

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
from verl_vsi.miniature.demo import Demo, training_phases
from verl_vsi.miniature.pipeline import Phase

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

STEPS = 2
"""Of vsGRPO in `told`."""


def vsgrpo(folder: Path, steps: int) -> Phase:
    phase = training_phases(Demo(folder, vsgrpo_steps=steps))[1]
    assert phase.name == "vsgrpo"
    return phase


def metrics(folder: Path) -> list[dict[str, Any]]:
    """One record a step, start after start."""
    files = sorted((folder / "vsgrpo" / "metrics").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def saved_step(folder: Path) -> int:
    path = folder / "vsgrpo" / "latest_checkpointed_iteration.txt"
    return int(path.read_text()) if path.exists() else 0


def test_the_report_holds_every_model_and_floor(told: Path) -> None:
    report = json.loads((told / "report.json").read_text())
    for key in ("base", "sft", "vsgrpo", "shuffled", "blind", "chance"):
        assert set(report[key]) == {"overall", "tasks", "reward"}
        assert len(report[key]["tasks"]) == 6
        assert 0 <= report[key]["overall"]["mean"] <= 1
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"].values()) / 2, abs=1)
    assert {"verl", "torch", "verl-vsi"} <= set(report["versions"])


def test_pictures_are_drawn(told: Path) -> None:
    assert (told / "report" / "curves.png").stat().st_size > 10_000
    assert (told / "report" / "tasks.png").stat().st_size > 10_000


def test_training_moves_the_weights_that_are_scored(told: Path) -> None:
    answers = {}
    for model in ("base", "sft", "vsgrpo"):
        result = json.loads((told / "eval" / model / "normal.json").read_text())
        assert result["rates"]["failed"] == 0
        answers[model] = [answer["response"] for answer in result["answers"]]
    assert answers["base"] != answers["sft"]


def test_rollout_and_actor_see_the_same_video(told: Path) -> None:
    found = [r["data"]["training/rollout_actor_probs_pearson_corr"] for r in metrics(told) if r["step"]]
    assert len(found) >= STEPS
    assert min(found) > 0.999


def test_kl_is_in_the_loss_and_grows_from_nothing(told: Path) -> None:
    losses = [record["data"]["actor/kl_loss"] for record in metrics(told) if record["step"]]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses[1] > 0


def test_a_killed_run_goes_on_from_its_last_checkpoint(told: Path) -> None:
    killed = vsgrpo(told, 40)
    log = told / "killed.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*killed.command, "trainer.save_freq=1"], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + 400
    while saved_step(told) < STEPS + 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reached = saved_step(told)
    assert reached >= STEPS + 1, log.read_text(errors="replace")[-3000:]
    again = vsgrpo(told, reached + 1)
    done = subprocess.run(again.command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:]
    assert saved_step(told) == reached + 1
    steps = [record["step"] for record in metrics(told)]
    assert steps[-1] == reached + 1
    assert 1 not in steps[STEPS + 1 :], "it started anew instead of going on"
    curve = read_run(told / "vsgrpo").series("actor/kl_loss")
    assert curve is not None
    assert curve.steps.tolist() == [*range(1, reached + 2)], "the starts' logs are to make one full curve"


def test_the_story_run_again_repeats_nothing(told: Path, story_command: list[str]) -> None:
    done = subprocess.run([*story_command, "--folder", str(told)], capture_output=True, text=True, check=True)
    assert len(re.findall(r"done before", done.stdout)) == 12
