"""verl 0.9.1: `trainer.max_actor_ckpt_to_keep=1` leaves a folder for every checkpoint that was ever written.

The checkpoint manager lives in the workers. It removes `global_step_N/actor` of checkpoints that are too many, and the
trainer's own `global_step_N/data.pt` stays, so N looks like a checkpoint and is none. And it begins to count anew at
every start: the checkpoint that a run resumed from is kept for ever, whole.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.trainer.ppo.v1.trainer_base"
_PREFIX = "global_step_"
_ACTOR, _DATA = "actor", "data.pt"
"""What verl writes into a step's folder where nothing but an actor is trained."""


def install() -> None:
    """Tidy up after each save."""
    on_import(MODULE, _wrap)


def _wrap(trainer_base: Any) -> None:
    load, save = trainer_base.PPOTrainer._load_checkpoint, trainer_base.PPOTrainer._save_checkpoint

    @wraps(load)
    def _load_checkpoint(self: Any) -> None:
        load(self)
        self.vsi_saved = [self.global_steps] if self.global_steps else []

    @wraps(save)
    def _save_checkpoint(self: Any) -> None:
        save(self)
        keep = self.config.trainer.get("max_actor_ckpt_to_keep", None)
        in_flight = self.config.actor_rollout_ref.actor.get("checkpoint", {}).get("async_save", False)
        self.vsi_saved = [step for step in getattr(self, "vsi_saved", []) if step != self.global_steps]
        self.vsi_saved.append(self.global_steps)
        if keep and not in_flight:
            self.vsi_saved = tidy(Path(self.config.trainer.default_local_dir), self.vsi_saved, keep)

    trainer_base.PPOTrainer._load_checkpoint = _load_checkpoint
    trainer_base.PPOTrainer._save_checkpoint = _save_checkpoint


def tidy(run: Path, saved: list[int], keep: int) -> list[int]:
    """Remove the actors that this run wrote or resumed from beyond the newest `keep`, and what is then a husk.

    A step's folder goes with its actor where nothing but verl's `data.pt` is left in it. A critic, which has a limit
    of its own, and files of the user's stay, and the folder with them.

    Args:
        run: the run's folder; a checkpoint that lies elsewhere (`trainer.resume_from_path`) is never touched.
        saved: steps of the checkpoints, oldest first.
        keep: how many stay, at least one.

    Returns:
        The steps that stay.
    """
    for step in saved[:-keep]:
        folder = run / f"{_PREFIX}{step}"
        shutil.rmtree(folder / _ACTOR, ignore_errors=True)
        if folder.is_dir() and {file.name for file in folder.iterdir()} <= {_DATA}:
            (folder / _DATA).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
    return saved[-keep:]
