"""verl 0.9.1: the SFT trainer has no callback after a save; PPO's has `trainer.checkpoint_callback_class`."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

from verl_vsi.config.checkpoints import seal, step_folder
from verl_vsi.on_import import on_import

MODULE = "verl.utils.checkpoint.checkpoint_handler"


def install() -> None:
    """Note in each checkpoint whose it is."""
    on_import(MODULE, _wrap)


def _wrap(checkpoint_handler: Any) -> None:
    upstream = checkpoint_handler.CheckpointHandler.save_checkpoint

    @wraps(upstream)
    def save_checkpoint(self: Any, step: int) -> None:
        upstream(self, step)
        if self.rank == 0:
            seal(step_folder(Path(self.default_local_dir), step))

    checkpoint_handler.CheckpointHandler.save_checkpoint = save_checkpoint
