"""verl reports the parts of a reward in validation only, and its training loop has no hook for a step's metrics.

So the method that computes them is wrapped: `verl_vsi.training_metrics` adds ours and looks at verl's.
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
