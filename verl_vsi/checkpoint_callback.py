"""What verl's trainer calls after it has saved a checkpoint (`trainer.checkpoint_callback_class`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

from verl_vsi.config.checkpoints import note_step, seal, tidy
from verl_vsi.training_metrics import measured_so_far


class RunCheckpoints(CheckpointCallback):
    """Notes in each checkpoint whose it is and what its step measured, and removes those that are too many."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **kwargs: Any
    ) -> None:
        """See `verl.trainer.ppo.checkpoint_callback.CheckpointCallback`.

        Args:
            trainer: verl's.
            global_step: N of `global_step_N`.
            checkpoint_dir: that folder.
            async_save: its files may still be on their way: nothing is noted or removed then.
            kwargs: for later versions of verl.
        """
        if async_save:
            return
        folder = Path(checkpoint_dir).absolute()
        seal(folder)
        if hasattr(trainer, "vsi_step"):  # set by patches.step_metrics
            note_step(folder, global_step, measured_so_far(trainer))
        if keep := trainer.config.trainer.get("max_actor_ckpt_to_keep", None):
            tidy(folder.parent, keep)
