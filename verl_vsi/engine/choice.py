"""What of the shared work a run can take, from its whole configuration; and why not the rest, as sentences.

Recipes ask while they are composed (resolvers `vsi.if_shared_passes` and `vsi.if_shared_rollouts`), the start-up
statement and the run's own processes ask again, so all of them say the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from verl_vsi.engine.names import VENDOR

if TYPE_CHECKING:
    from omegaconf import DictConfig

SHARED = "shared"
_ULYSSES = ("actor.ulysses_sequence_parallel_size", "actor.fsdp_config.ulysses_sequence_parallel_size")


def why_stock_passes(config: DictConfig) -> str | None:
    """What about a run's settings asks for verl's own training passes; None where it can take the shared ones."""
    if asked := _why_neither(config):
        return asked
    strategy = config.actor_rollout_ref.actor.strategy
    if strategy != "fsdp2":
        return f"shared passes are built on FSDP2, and actor_rollout_ref.actor.strategy={strategy}"
    for key in _ULYSSES:
        if (OmegaConf.select(config.actor_rollout_ref, key) or 1) > 1:
            return f"actor_rollout_ref.{key} splits a sequence over ranks"
    return None


def why_stock_rollouts(config: DictConfig) -> str | None:
    """What asks for verl's own agent loop; None where a question is prepared once for all of its rollouts."""
    if asked := _why_neither(config):
        return asked
    name = config.actor_rollout_ref.rollout.name
    return None if name == "vllm" else f"frames are handed over in a form for vLLM, and rollout.name={name}"


def why_stock_run(config: DictConfig) -> str | None:
    """As `why_stock_passes`, asked in a process of the run, which must also have been told of the engine."""
    reason = why_stock_passes(config)
    if reason is None and os.environ.get("VERL_ENGINE_VENDOR") != VENDOR:
        return f"VERL_ENGINE_VENDOR is not {VENDOR} in Ray's runtime environment"
    return reason


def statement(config: DictConfig) -> str:
    """What a run shares and what not, in a line; empty for a trainer without rollouts."""
    if OmegaConf.select(config, "actor_rollout_ref.actor") is None:
        return ""
    passes, rollouts = why_stock_passes(config), why_stock_rollouts(config)
    if passes is None and rollouts is None:
        return "passes: shared (each video and prompt once for all of its rollouts, in rollout and in training)"
    if rollouts is None:
        return f"passes: verl's own in training, because {passes}; rollouts still prepare a question once"
    if passes is None:
        return f"passes: shared in training; rollouts are verl's own, because {rollouts}"
    return f"passes: verl's own, because {passes}"


def _why_neither(config: DictConfig) -> str | None:
    passes = OmegaConf.select(config, "vsi.passes")
    if passes != SHARED:
        return f"passes={passes}"
    if OmegaConf.select(config, "distillation.enabled"):
        return "distillation reads the logits of every token (distillation.enabled=true)"
    if not config.trainer.get("use_v1", True):
        return "they belong to verl's V1 trainer, and trainer.use_v1=false"
    return None
