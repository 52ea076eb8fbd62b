"""`verl-vsi eval` of a trained run gives the answers and the rewards of the trainer's own validation.

Two minutes beside the demonstration: pytest -m slow tests/verl_vsi/evaluation/ask/test_e2e_validation.py
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from vsi_support.validation import Scored, evaluated, validated

from verl_vsi.config.checkpoints import step_folder, tracked_step
from verl_vsi.evaluation.ask.checkpoints import as_served
from verl_vsi.miniature.demo import Demo, training_stages

pytest.importorskip("vllm", reason="serves a real model")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(2400),
]  # with the demonstration that it may have to run first


def test_eval_gives_the_answers_of_the_trainers_own_validation(demo_folder: Path, tmp_path: Path) -> None:
    """Greedy, on the same rows; the run's folder, the step's and the actor's are one model."""
    run = demo_folder / "vsgrpo"
    step = tracked_step(run)
    assert step is not None
    expected, rows = validation(demo_folder, step, tmp_path), Demo(demo_folder).rows("val")
    folders = (run, step_folder(run, step), step_folder(run, step) / "actor")
    console = Console(file=io.StringIO())
    assert len({as_served(str(folder), lora="fold", console=console).model for folder in folders}) == 1
    answers = evaluated(run, rows, Demo(demo_folder).root, tmp_path / "eval")
    assert answers == expected


def validation(demo_folder: Path, step: int, folder: Path) -> list[Scored]:
    """What verl's trainer writes of its validation, of a run that has ended.

    Args:
        demo_folder: of the demonstration.
        step: the run's last.
        folder: the trainer's rollouts go there.
    """
    (stage,) = (s for s in training_stages(Demo(demo_folder, vsgrpo_steps=step)) if s.name == "vsgrpo")
    only = ["trainer.val_only=true", "trainer.val_before_train=true", f"trainer.validation_data_dir={folder}"]
    done = subprocess.run([*stage.command, *only], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return validated(folder, step)
