"""As many checkpoints stay as were asked for, those that a run resumed from included."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

pytest.importorskip("verl")

from verl_vsi.patches.old_checkpoints import tidy


def make(run: Path, *steps: int) -> None:
    for step in steps:
        (run / f"global_step_{step}").mkdir(parents=True)
        (run / f"global_step_{step}" / "data.pt").touch()


def found(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("global_step_")) for path in run.iterdir())


@pytest.mark.parametrize(
    ("saved", "keep", "left"),
    [
        ([20], 1, [20]),
        ([20, 40], 1, [40]),
        ([20, 40, 60], 2, [40, 60]),
        ([20, 40], 5, [20, 40]),
        ([40, 20], 1, [20]),  # started over in a folder: the newest is the one written last
    ],
)
def test_the_newest_stay(tmp_path: Path, saved: list[int], keep: int, left: list[int]) -> None:
    make(tmp_path, *saved)
    assert tidy(tmp_path, saved, keep) == saved[-keep:]
    assert found(tmp_path) == left


def test_what_this_run_has_not_written_stays(tmp_path: Path) -> None:
    make(tmp_path, 10, 20, 30)
    tidy(tmp_path, [20, 30], 1)
    assert found(tmp_path) == [10, 30]


def test_a_checkpoint_from_elsewhere_is_never_removed(tmp_path: Path) -> None:
    make(tmp_path / "other", 20)
    make(tmp_path / "run", 30)
    tidy(tmp_path / "run", [20, 30], 1)
    assert found(tmp_path / "other") == [20]


def test_upstream_still_removes_a_part_only() -> None:
    """When this fails, verl has changed what it removes: look whether old_checkpoints.py is still needed."""
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer
    from verl.utils.checkpoint.checkpoint_manager import BaseCheckpointManager

    save = inspect.getsource(PPOTrainer._save_checkpoint.__wrapped__)  # pyright: ignore[reportFunctionMemberAccess]
    assert 'os.path.join(local_global_step_folder, "actor")' in save
    assert 'os.path.join(local_global_step_folder, "data.pt")' in save
    assert "rmtree" not in save
    assert "rmtree(abs_path" in inspect.getsource(BaseCheckpointManager.remove_previous_save_local_path)
