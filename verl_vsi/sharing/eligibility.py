"""What of the shared work a run can take, and why not the rest, as sentences for the user.

Three places ask: the configuration while it is composed (resolvers `vsi.if_shared_passes` and `vsi.if_shared_rollouts`,
the start-up checks and the run's own processes, so all of them say the same), an engine once its model is loaded, and
each batch. Recipes and checks import this, so it loads neither torch nor verl.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from tensordict import TensorDict

SHARED = "shared"
"""Value of `vsi.passes` that asks for shared work."""

VENDOR = "vsi_shared"
"""Value of `VERL_ENGINE_VENDOR` in the workers, by which verl finds the engine."""

TRAINER = "vsi_sync"
"""Value of `trainer.v1.trainer_mode`, by which verl finds the trainer."""

MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
"""`model_type` of the models whose forward `verl_vsi.sharing.model_hooks` can wrap."""

MEGATRON_MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl")
"""Of those that `verl_vsi.megatron.packed_model` can."""

_LAYER_TYPES = {"full_attention", "linear_attention"}
"""`layer_types` of a model that shared passes know; a model that names none has full attention only."""

_ULYSSES = ("actor.ulysses_sequence_parallel_size", "actor.fsdp_config.ulysses_sequence_parallel_size")


def why_upstream_passes(config: DictConfig) -> str | None:
    """What about a run's settings asks for verl's own training passes; None where it can take the shared ones."""
    if reason := _why_nothing_is_shared(config):
        return reason
    actor = config.actor_rollout_ref.actor
    if actor.strategy == "megatron":
        return _why_upstream_settings(actor.megatron, config.actor_rollout_ref.model)
    if actor.strategy != "fsdp2":
        return f"shared passes are built on FSDP2 and Megatron, and actor_rollout_ref.actor.strategy={actor.strategy}"
    for key in _ULYSSES:
        if (OmegaConf.select(config.actor_rollout_ref, key) or 1) > 1:
            return f"actor_rollout_ref.{key} splits a sequence over ranks"
    return None


_MEGATRON_SIZES = {
    "context_parallel_size": "splits a sequence over ranks",
    "virtual_pipeline_model_parallel_size": "wants numbers of micro-batches that groups don't give",
}
"""Settings of Megatron's engine that shared passes don't do above 1."""

_MEGATRON_SWITCHES = {
    "dynamic_context_parallel": "splits sequences over ranks",
    "vanilla_mbridge": "has models that no packed batch was tried on",
    "use_fused_kernels": "replaces the model's forward",
}
"""Settings of Megatron's engine, or of the model, that shared passes don't do."""


def _why_upstream_settings(engine: Any, model: Any) -> str | None:
    """What in the settings of Megatron's engine, or of the model, its shared passes do not do."""
    for key, reason in _MEGATRON_SIZES.items():
        if (engine.get(key) or 1) > 1:
            return f"megatron.{key}={engine.get(key)} {reason}"
    for key, reason in _MEGATRON_SWITCHES.items():
        if engine.get(key) or model.get(key):
            return f"{key} {reason}"
    if (model.get("mtp") or {}).get("enable"):
        return "model.mtp.enable predicts tokens in verl's own order"
    if (engine.get("router_replay") or {}).get("mode", "disabled") != "disabled":
        return "megatron.router_replay needs the tokens in verl's own order"
    return None


def why_upstream_rollouts(config: DictConfig) -> str | None:
    """What asks for verl's own agent loop; None where a question is prepared once for all of its rollouts."""
    if reason := _why_nothing_is_shared(config):
        return reason
    name = config.actor_rollout_ref.rollout.name
    return None if name == "vllm" else f"frames are handed over in a form for vLLM, and rollout.name={name}"


def why_upstream_run(config: DictConfig) -> str | None:
    """As `why_upstream_passes`, asked in a process of the run, which must also have been told of the engine."""
    reason = why_upstream_passes(config)
    if reason is None and os.environ.get("VERL_ENGINE_VENDOR") != VENDOR:
        return f"VERL_ENGINE_VENDOR is not {VENDOR} in Ray's runtime environment"
    return reason


def statement(config: DictConfig) -> str:
    """What a run shares and what not, in a line; empty for a trainer without rollouts."""
    if OmegaConf.select(config, "actor_rollout_ref.actor") is None:
        return ""
    passes, rollouts = why_upstream_passes(config), why_upstream_rollouts(config)
    if passes is None and rollouts is None:
        return "passes: shared (each video and prompt once for all of its rollouts, in rollout and in training)"
    if rollouts is None:
        return f"passes: verl's own in training, because {passes}; rollouts still prepare a question once"
    if passes is None:
        return f"passes: shared in training; rollouts are verl's own, because {rollouts}"
    return f"passes: verl's own, because {passes}"


def _why_nothing_is_shared(config: DictConfig) -> str | None:
    passes = OmegaConf.select(config, "vsi.passes")
    if passes != SHARED:
        return f"passes={passes}"
    if OmegaConf.select(config, "distillation.enabled"):
        return "distillation reads the logits of every token (distillation.enabled=true)"
    if not config.trainer.get("use_v1", True):
        return "they belong to verl's V1 trainer, and trainer.use_v1=false"
    return None


def why_upstream_fsdp(engine: Any) -> str | None:
    """What about verl's FSDP2 engine and its model asks for verl's own passes; None where shared passes work."""
    model, config = engine.model_config.hf_config, engine.engine_config
    text = getattr(model, "text_config", model)
    if model.model_type not in MODEL_TYPES:
        return f"model type {model.model_type!r} is not among {', '.join(MODEL_TYPES)}"
    if config.ulysses_sequence_parallel_size > 1:
        return "Ulysses sequence parallelism splits a sequence over ranks"
    if others := {*(getattr(text, "layer_types", None) or ())} - _LAYER_TYPES:
        return f"layers of type {', '.join(sorted(others))} were not tried with a prompt that answers share"
    if getattr(engine.model_config, "enable_activation_offload", False):
        return "activations are offloaded (model.enable_activation_offload), which was not tried with shared passes"
    return None


def why_upstream_megatron(engine: Any) -> str | None:
    """What about verl's Megatron engine and its model asks for verl's own passes; None where shared passes work."""
    model, config = engine.model_config.hf_config, engine.engine_config
    if model.model_type not in MEGATRON_MODEL_TYPES:
        return f"model type {model.model_type!r} on Megatron is not among {', '.join(MEGATRON_MODEL_TYPES)}"
    return _why_upstream_settings(config, engine.model_config)


_UNSUPPORTED_KEYS = {
    "distillation_use_topk": "distillation reads the logits of every token",
    "calculate_sum_pi_squared": "the sum of squared probabilities is not computed on packed answers",
    "enable_routing_replay": "routing replay needs the tokens in verl's own order",
}


def why_upstream_batch(batch: TensorDict) -> str | None:
    """What about a batch asks for verl's own passes; None where shared passes work."""
    from torch import Tensor
    from verl.utils import tensordict_utils as tu

    for key, reason in _UNSUPPORTED_KEYS.items():
        if tu.get_non_tensor_data(batch, key, default=False):
            return f"{reason} ({key})"
    missing = [key for key in ("uid", "prompts", "input_ids", "position_ids") if key not in batch.keys()]  # noqa: SIM118
    if missing:
        return f"the batch has no {', no '.join(missing)}, so its groups are not known"
    if not batch["prompts"].is_nested:
        return "prompts are padded"
    if isinstance(tu.get_non_tensor_data(batch, "temperature", default=1.0), Tensor):
        return "each row has its own temperature"
    return None


_PREFIX = "vsi_"
_GIB = 2**30


@dataclass(frozen=True)
class EngineOptions:
    """What a run chooses about its shared passes (`vsi.engine`); the defaults where the configuration says nothing."""

    freeze_tower: bool = False
    """Do not train the vision tower; its features are then computed once a video. (verl's switch does nothing.)"""

    feature_cache_gib: float = 2.0
    """Host memory that remembered features may take, in GiB, for each engine."""

    shadow: bool = False
    """Run verl's own passes too, and report the differences as metrics."""

    @property
    def feature_cache_bytes(self) -> int:
        """The limit in bytes."""
        return int(self.feature_cache_gib * _GIB)


def take_options(model_config: Any) -> EngineOptions:
    """Read the options from verl's `HFModelConfig`, and leave no trace of them in the model's own configuration.

    A worker is handed its part of the configuration only, so they travel in `actor_rollout_ref.model.override_config`,
    whose keys verl writes into the model's Hugging Face configuration; from there they are taken out again.

    Raises:
        TypeError: from the dataclass, where a key with the prefix is none of its fields.
    """
    options = {key: value for key, value in model_config.override_config.items() if str(key).startswith(_PREFIX)}
    for key in options:
        if hasattr(model_config.hf_config, key):
            delattr(model_config.hf_config, key)
    return EngineOptions(**{key.removeprefix(_PREFIX): value for key, value in options.items()})
