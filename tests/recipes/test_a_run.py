"""A real run as a user sees it: what it says, how it stops, what it leaves (pytest -m slow tests/recipes)."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.pipeline import run_stages

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of a run that asks for more correlation than there can be."""
    folder = tmp_path_factory.mktemp("run")
    demo = Demo(folder, train_rooms=16, heldout_rooms=16)
    run_stages(data_stages(demo), folder, Console(file=StringIO()))
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", "mode=think"]
    command += [f"vsi.root={demo.root}", f"vsi.data.val={demo.rows('val')}", "vsi.checks.min_correlation=1.01"]
    command += ["trainer.val_before_train=false", f"trainer.default_local_dir={folder / 'run'}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert run.returncode != 0, "it must not go on"
    return folder / "run", run.stdout + run.stderr


def test_a_first_step_below_the_limit_stops_the_run_with_the_cause(stopped: tuple[Path, str]) -> None:
    _, output = stopped
    assert "in the first step, below vsi.checks.min_correlation=1.01" in output
    assert "mm_device_do_normalize" in output


def test_kl_is_stated_at_the_start(stopped: tuple[Path, str]) -> None:
    _, output = stopped
    assert "KL: in the loss, low_var_kl (k3, ref/pi - log(ref/pi) - 1), coefficient 0.0001" in output


def test_the_run_says_how_to_repeat_it(stopped: tuple[Path, str]) -> None:
    run, _ = stopped
    (file,) = (run / "provenance").glob("*.json")
    record = json.loads(file.read_text())
    assert (record["status"], record["recipe"]) == ("failed", "vsgrpo_miniature")
    assert record["start"] < record["end"]
    assert record["resolved"]["vsi"]["mode"]["name"] == "think"
    assert record["data"]["train_files"][0]["fingerprint"]["sha256"]
    command = [str(Path(sys.executable).with_name("verl-vsi")), "recipes", "show", str(run)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "python -m verl.trainer.main_ppo +recipe=vsgrpo_miniature mode=think vsi.root=" in shown
