"""Qwen2-VL (and 2.5) that also takes a plan: packed ids in, log-probabilities at answer positions out.

The model's own `forward` and those of its attention layers are wrapped, on the instance. So a plan goes through the
module's `__call__`: FSDP's hooks fire, PEFT's adapters are met, checkpointed layers recompute what they computed. And
it makes no difference whether verl has replaced `Qwen2VLAttention.forward` (it does for `use_remove_padding`), which
bypasses the attention registry of transformers.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from verl_vsi.patches.module_forward import wrap_forward
from verl_vsi.sharing.attention import attend
from verl_vsi.sharing.layout import Layout
from verl_vsi.sharing.log_probs import LogProbHead
from verl_vsi.sharing.packing import PackedBatch
from verl_vsi.sharing.vision import Visuals
from verl_vsi.sharing.vision_features import run_tower, scatter_features

# MERGED Fewer bytes for the same numbers: what a layer computes cheaply is computed again instead of kept.
#
# For a backward pass a layer keeps what its matrices and its attention gave; norms, rotations and activation functions,
# which are most of what PyTorch would keep and none of the work, are computed again from these (selective checkpointing,
# Korthikanti et al. 2022, arXiv:2205.05198). Without a backward pass, an MLP, whose inside is the widest thing in a
# layer, runs over a stretch of tokens at a time.


_STRETCH = 512
"""Tokens of an MLP at a time."""

_KEPT = [
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._flash_attention_forward.default,
]
"""Operators whose results are kept."""


def save_memory(model: Any) -> None:
    """Do so in the layers of a Qwen2-VL."""
    for layer in model.model.language_model.layers:
        wrap_forward(layer, _layer_forward)
        wrap_forward(layer.mlp, _mlp_forward)
    for block in model.model.visual.blocks:
        wrap_forward(block, _layer_forward)
        wrap_forward(block.mlp, _mlp_forward)


def _layer_forward(layer: Any, upstream: Any, *args: Any, **kwargs: Any) -> Any:
    checkpointed = layer.training and getattr(layer, "gradient_checkpointing", False)  # whole layers, by transformers
    if checkpointed or not torch.is_grad_enabled():
        return upstream(*args, **kwargs)
    contexts = functools.partial(create_selective_checkpoint_contexts, _KEPT)
    return checkpoint(upstream, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _mlp_forward(_: nn.Module, upstream: Any, hidden: Tensor) -> Tensor:
    if torch.is_grad_enabled() or hidden.shape[-2] <= _STRETCH:
        return upstream(hidden)
    return torch.cat([upstream(part) for part in hidden.split(_STRETCH, dim=-2)], dim=-2)



_FULL = "full_attention"


def install(model: nn.Module) -> None:
    """Let `model(vsi_plan=plan, vsi_media=media, vsi_readout=readout)` return what the readout reads.

    Other calls give what they gave, in less memory.
    """
    wrap_forward(model, _model_forward)
    for layer in model.model.language_model.layers:  # pyright: ignore
        wrap_forward(layer.self_attn, _attention_forward)
    save_memory(model)


def _model_forward(
    model: Any,
    upstream: Any,
    *args: Any,
    vsi_plan: PackedBatch | None = None,
    vsi_media: Visuals | None = None,
    vsi_readout: LogProbHead | None = None,
    **kwargs: Any,
) -> Any:
    if vsi_plan is None or vsi_media is None or vsi_readout is None:
        return upstream(*args, **kwargs)
    embeddings = _embed(model, vsi_plan, vsi_media)
    hidden = model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask={_FULL: vsi_plan.layout},
        position_ids=vsi_plan.positions,
        use_cache=False,
    )[0]
    return vsi_readout(model.lm_head, hidden[0, vsi_plan.read], vsi_plan.labels)


def _embed(model: Any, packed: PackedBatch, visuals: Visuals) -> Tensor:
    """Embeddings (1, T, hidden) of a packed batch, videos and images in their places."""
    features = visuals.features(functools.partial(run_tower, model.model.visual))
    embeddings = model.get_input_embeddings()(packed.ids)
    for kind, parts in (("video", features.video), ("image", features.image)):
        token = getattr(model.config, f"{kind}_token_id")
        merged = torch.cat(parts) if parts else embeddings.new_empty(0, embeddings.shape[-1])
        embeddings = scatter_features(embeddings, packed.ids, token, merged, kind)
    return embeddings + features.nothing


def _attention_forward(
    attention: Any,
    upstream: Any,
    hidden_states: Tensor,
    *args: Any,
    attention_mask: Any = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **kwargs: Any,
) -> Any:
    if not isinstance(attention_mask, Layout):
        return upstream(
            hidden_states, *args, attention_mask=attention_mask, position_embeddings=position_embeddings, **kwargs
        )
    query, key, value = (
        projection(hidden_states).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = _rotate(attention, query, key, position_embeddings)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    out = attend(query, key, value, attention_mask, attention.head_dim**-0.5)
    return attention.o_proj(out.flatten(1)[None]), None


def _rotate(attention: Any, query: Tensor, key: Tensor, embeddings: Any) -> tuple[Tensor, Tensor]:
    # Looked up at each call, in the model's own module, where Liger and others replace it.
    rotate = importlib.import_module(type(attention).__module__).apply_multimodal_rotary_pos_emb
    cos, sin = embeddings
    return rotate(query, key, cos, sin, attention.config.rope_parameters["mrope_section"])
