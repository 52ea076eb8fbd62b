"""What a start finds in its folder: the checkpoint's own settings count, and a broken one is not resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("verl")

import torch
from omegaconf import DictConfig

from verl_vsi.config import provenance
from verl_vsi.config.checkpoints import RECORD, TRACKER, seal, step_folder
from verl_vsi.config.recipes import Composer
from verl_vsi.preflight.resume import check_resume, whole_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def start(compose: Composer, run: Path, *overrides: str) -> DictConfig:
    return compose.recipe(["vsgrpo_miniature", f"vsi.root={run}", f"trainer.default_local_dir={run}", *overrides])


def save(run: Path, step: int, config: DictConfig) -> Path:
    """A checkpoint as a start with these settings leaves it."""
    folder = step_folder(run, step)
    folder.mkdir(parents=True)
    torch.save({"step": step}, folder / "data.pt")
    seal(folder)
    (folder / RECORD).write_text(json.dumps({"resolved": provenance.resolved(config)}))
    (run / TRACKER).write_text(str(step))
    return folder


def test_a_checkpoint_of_the_same_settings_is_resumed(compose: Composer, run: Path) -> None:
    save(run, 20, start(compose, run))
    assert not list(check_resume(start(compose, run, "trainer.total_training_steps=99")))


def test_a_checkpoint_of_other_settings_is_not(compose: Composer, run: Path) -> None:
    save(run, 20, start(compose, run))
    (problem,) = check_resume(start(compose, run, "actor_rollout_ref.actor.optim.lr=1e-5"))
    assert "actor_rollout_ref.actor.optim.lr: 0.0001 -> 1e-05" in problem.what
    assert "trainer.resume_mode=disable" in problem.fix


def test_a_start_over_that_was_killed_before_its_first_checkpoint_does_not_hide_whose_the_old_one_is(
    compose: Composer, run: Path
) -> None:
    save(run, 20, start(compose, run))
    other = start(compose, run, "actor_rollout_ref.actor.optim.lr=1e-5")
    provenance.write({"resolved": provenance.resolved(other)}, run / provenance.FOLDER / "29990101T000000.json")
    assert list(check_resume(other)), "the newest start has these settings, and the checkpoint has not"


@pytest.mark.parametrize("tracker", ["", "twenty", "40"], ids=["empty", "no number", "a folder that is gone"])
def test_a_tracker_that_names_no_checkpoint_is_named(compose: Composer, run: Path, tracker: str) -> None:
    save(run, 20, start(compose, run))
    (run / TRACKER).write_text(tracker)
    (problem,) = check_resume(start(compose, run))
    assert str(run / TRACKER) in problem.what
    assert "write 20 into it" in problem.fix


def test_a_broken_checkpoint_is_passed_over_for_the_one_before_it(compose: Composer, run: Path) -> None:
    config = start(compose, run)
    save(run, 20, config)
    (save(run, 40, config) / "data.pt").write_bytes(b"cut")
    assert not list(check_resume(config))
    checkpoint, fault = whole_checkpoint(config) or (None, "")
    assert checkpoint == step_folder(run, 20)
    assert "global_step_40/data.pt has 3 bytes" in fault


def test_a_broken_checkpoint_without_another_stops_the_start_and_is_named(compose: Composer, run: Path) -> None:
    config = start(compose, run)
    (save(run, 20, config) / "data.pt").write_bytes(b"cut")
    (problem,) = check_resume(config)
    assert "global_step_20/data.pt has 3 bytes" in problem.what
    assert whole_checkpoint(config) is None


def test_starting_over_looks_at_no_checkpoint(compose: Composer, run: Path) -> None:
    save(run, 20, start(compose, run))
    (run / TRACKER).write_text("")
    assert not list(check_resume(start(compose, run, "trainer.resume_mode=disable")))
