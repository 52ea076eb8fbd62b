"""The commands that a user types, as processes: unmodified verl, with the plug-in found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml


def trainer(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VSI_", "VERL_"))}
    command = [sys.executable, "-m", f"verl.trainer.{module}", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=200, check=False)


def test_cfg_job_shows_grpo_with_kl(tmp_path: Path) -> None:
    process = trainer("main_ppo", "+recipe=vsgrpo_miniature", "--cfg", "job", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    config = yaml.safe_load(process.stdout[process.stdout.index("\nactor_rollout_ref:") :])
    actor = config["actor_rollout_ref"]["actor"]
    assert (actor["use_kl_loss"], actor["kl_loss_type"], actor["kl_loss_coef"]) == (True, "low_var_kl", 1e-4)
    assert config["algorithm"]["adv_estimator"] == "grpo"
    assert config["actor_rollout_ref"]["rollout"]["n"] == 14


def test_a_machine_without_data_is_told_what_to_set_before_ray(tmp_path: Path) -> None:
    process = trainer("main_ppo", "+recipe=vsgrpo_7b", cwd=tmp_path)
    assert process.returncode == 1
    assert "1. vsi.root is not set" in process.stderr
    assert "export VSI_ROOT=" in process.stderr
    assert "Started a local Ray instance" not in process.stderr
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_the_wrong_trainer_gives_the_right_command(tmp_path: Path) -> None:
    process = trainer("sft_trainer", "+recipe=vsgrpo_7b", "mode=think", cwd=tmp_path)
    assert process.returncode == 1
    assert "python -m verl.trainer.main_ppo +recipe=vsgrpo_7b mode=think" in process.stderr
