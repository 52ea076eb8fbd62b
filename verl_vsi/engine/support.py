"""Where the shared passes can stand in for verl's own, and why not elsewhere. A reason is a sentence for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from verl.utils import tensordict_utils as tu

from verl_vsi.engine.model import MODEL_TYPES

if TYPE_CHECKING:
    from tensordict import TensorDict

_UNSUPPORTED_KEYS = {
    "distillation_use_topk": "distillation reads the logits of every token",
    "calculate_sum_pi_squared": "the sum of squared probabilities is not computed on packed answers",
    "enable_routing_replay": "routing replay needs the tokens in verl's own order",
}


def why_stock_engine(engine: Any) -> str | None:
    """What about this engine's settings asks for verl's own passes; None where shared passes work."""
    model, config = engine.model_config.hf_config, engine.engine_config
    text = getattr(model, "text_config", model)
    if model.model_type not in MODEL_TYPES:
        return f"model type {model.model_type!r} is not among {', '.join(MODEL_TYPES)}"
    if config.ulysses_sequence_parallel_size > 1:
        return "Ulysses sequence parallelism splits a sequence over ranks"
    if any(kind != "full_attention" for kind in getattr(text, "layer_types", None) or ()):
        return "the model has sliding-window attention"
    if getattr(engine.model_config, "enable_activation_offload", False):
        return "activations are offloaded (model.enable_activation_offload), which was not tried with shared passes"
    return None


def why_stock_batch(batch: TensorDict) -> str | None:
    """What about this batch asks for verl's own passes; None where shared passes work."""
    for key, reason in _UNSUPPORTED_KEYS.items():
        if tu.get_non_tensor_data(batch, key, default=False):
            return f"{reason} ({key})"
    missing = [key for key in ("uid", "prompts", "input_ids", "position_ids") if key not in batch.keys()]  # noqa: SIM118
    if missing:
        return f"the batch has no {', no '.join(missing)}, so its groups are not known"
    if not batch["prompts"].is_nested:
        return "prompts are padded"
    if isinstance(tu.get_non_tensor_data(batch, "temperature", default=1.0), torch.Tensor):
        return "each row has its own temperature"
    return None
