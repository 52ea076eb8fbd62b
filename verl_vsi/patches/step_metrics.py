"""verl reports the parts of a reward in validation only, and its training loop has no hook for a step's metrics.

So the method that computes them is wrapped: `verl_vsi.training_metrics` adds ours and looks at verl's. And the method
that makes a step is, because a step's metrics are logged only after its checkpoint and its validation: what a killed
run had measured would be lost, where the callback of checkpoints could keep it but gets neither batch nor metrics.
And the one that writes a step's answers to a file, which writes all of them: gigabytes in a run.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.trainer.ppo.v1.trainer_base"


def install() -> None:
    """Wait for verl's trainer."""
    on_import(MODULE, _wrap)


def _wrap(trainer_base: Any) -> None:
    upstream = trainer_base.PPOTrainer._compute_metrics

    @wraps(upstream)
    def _compute_metrics(self: Any, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        from verl_vsi.training_metrics import add_metrics

        upstream(self, batch, metrics, *args, **kwargs)
        add_metrics(self, batch, metrics, trainer_base.tq)

    trainer_base.PPOTrainer._compute_metrics = _compute_metrics
    make_step = trainer_base.PPOTrainer.step

    @wraps(make_step)
    def step(self: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        batch = make_step(self, metrics, *args, **kwargs)
        self.vsi_step = batch, metrics
        return batch

    trainer_base.PPOTrainer.step = step
    write_answers = trainer_base.PPOTrainer._log_rollout_data

    @wraps(write_answers)
    def _log_rollout_data(self: Any, batch: Any, *args: Any, **kwargs: Any) -> None:
        from verl_vsi.training_metrics import sampled

        write_answers(self, sampled(self, batch), *args, **kwargs)

    trainer_base.PPOTrainer._log_rollout_data = _log_rollout_data
