"""Whether a run's workers take the shared passes, from its whole configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from verl_vsi.engine.names import VENDOR

if TYPE_CHECKING:
    from omegaconf import DictConfig


def why_stock_run(config: DictConfig) -> str | None:
    """What about a run asks for verl's own engine; None where its workers take the shared passes."""
    strategy = config.actor_rollout_ref.actor.strategy
    if strategy != "fsdp2":
        return f"shared passes are built on FSDP2, and actor_rollout_ref.actor.strategy={strategy}"
    if os.environ.get("VERL_ENGINE_VENDOR") != VENDOR:
        return f"VERL_ENGINE_VENDOR is not {VENDOR} in Ray's runtime environment"
    return None
