"""A real run as a user sees it: what it says, how it stops, what it leaves (pytest -m slow tests/recipes)."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from verl_vsi.miniature.demo import Demo, data_phases
from verl_vsi.miniature.pipeline import run_phases

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of a run that asks for more correlation than there can be."""
    folder = tmp_path_factory.mktemp("run")
    story = Demo(folder, train_rooms=16, heldout_rooms=16)
    run_phases(data_phases(story), folder, Console(file=StringIO()))
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", "mode=think"]
    command += [f"vsi.root={story.root}", f"vsi.data.val={story.rows('val')}", "vsi.checks.min_correlation=1.01"]
    command += ["trainer.val_before_train=false", f"trainer.default_local_dir={folder / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode != 0, "it must not go on"
    return folder / "run", done.stdout + done.stderr


def test_a_first_step_below_the_limit_stops_the_run_with_the_cause(stopped: tuple[Path, str]) -> None:
    _, said = stopped
    assert "in the first step, below vsi.checks.min_correlation=1.01" in said
    assert "mm_device_do_normalize" in said


def test_kl_is_stated_at_the_start(stopped: tuple[Path, str]) -> None:
    _, said = stopped
    assert "KL: in the loss, low_var_kl (k3, ref/pi - log(ref/pi) - 1), coefficient 0.0001" in said


def test_the_run_says_how_to_repeat_it(stopped: tuple[Path, str]) -> None:
    run, _ = stopped
    (file,) = (run / "provenance").glob("*.json")
    record = json.loads(file.read_text())
    assert (record["status"], record["recipe"]) == ("failed", "vsgrpo_miniature")
    assert record["start"] < record["end"]
    assert record["resolved"]["vsi"]["mode"]["name"] == "think"
    assert record["data"]["train_files"][0]["fingerprint"]["sha256"]
    shown = [str(Path(sys.executable).with_name("verl-vsi")), "recipes", "show", str(run)]
    done = subprocess.run(shown, capture_output=True, text=True, check=True)
    assert "python -m verl.trainer.main_ppo +recipe=vsgrpo_miniature mode=think vsi.root=" in done.stdout
