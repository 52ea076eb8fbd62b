"""A Qwen model (2-VL, 2.5-VL, 3-VL, 3.5) that also takes a packed batch, and gives log-probabilities at answers.

The forwards of the model, of its attention and of its layers are wrapped, on the instance. So a packed batch goes
through the module's `__call__`: FSDP's hooks fire, PEFT's adapters are met, checkpointed layers recompute what they
computed. And it makes no difference whether verl has replaced `Qwen2VLAttention.forward` (it does for
`use_remove_padding`), which bypasses the attention registry of transformers. What differs between the models is small:
queries and keys that are normed, an output that is gated, linear attention in some layers, features for several layers.

Calls without a packed batch give what they gave, in less memory. For a backward pass a layer keeps what its matrices
and its attention gave; norms, rotations and activation functions, which are most of what PyTorch would keep and none
of the work, are computed again from these (selective checkpointing, Korthikanti et al. 2022, arXiv:2205.05198). Without
a backward pass, an MLP, whose inside is the widest thing in a layer, runs over a stretch of tokens at a time.
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
from verl_vsi.sharing.linear_attention import attend_linearly
from verl_vsi.sharing.log_probs import LogProbHead
from verl_vsi.sharing.packed_layout import PackedLayout
from verl_vsi.sharing.packing import PackedBatch
from verl_vsi.sharing.vision import KINDS, Visuals
from verl_vsi.sharing.vision_features import in_reading_order, run_tower, scatter_features


def install(model: Any) -> None:
    """Let `model(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)` return what the head computes."""
    layers, blocks = model.model.language_model.layers, model.model.visual.blocks
    wrap_forward(model, _model_forward)
    for layer in layers:
        if hasattr(layer, "linear_attn"):
            wrap_forward(layer.linear_attn, _linear_attention_forward)
        else:
            wrap_forward(layer.self_attn, _attention_forward)
    for block in (*layers, *blocks):
        wrap_forward(block, _layer_forward)
        wrap_forward(block.mlp, _mlp_forward)


def install_output_layer(model: Any) -> None:
    """Let `model`'s output layer take a log-prob head too, as it is after LoRA and before FSDP.

    All of a pass is one call of the layer, whatever number of chunks it has: where FSDP gathers the layer for each
    call (it does where the embedding is not the output layer, as at 7B), ranks with more answer tokens than others
    would otherwise issue more all-gathers, and wait for ever.
    """
    wrap_forward(model.lm_head, _output_layer_forward)


def _output_layer_forward(
    _: nn.Module,
    upstream: Any,
    hidden: Tensor,
    *args: Any,
    vsi_log_prob_head: LogProbHead | None = None,
    vsi_labels: Tensor | None = None,
    **kwargs: Any,
) -> Any:
    if vsi_log_prob_head is None or vsi_labels is None:
        return upstream(hidden, *args, **kwargs)
    return vsi_log_prob_head(upstream, hidden, vsi_labels)


def _model_forward(
    model: Any,
    upstream: Any,
    *args: Any,
    vsi_packed: PackedBatch | None = None,
    vsi_visuals: Visuals | None = None,
    vsi_log_prob_head: LogProbHead | None = None,
    **kwargs: Any,
) -> Any:
    if vsi_packed is None or vsi_visuals is None or vsi_log_prob_head is None:
        return upstream(*args, **kwargs)
    hidden = model.model.language_model(
        **_language_inputs(model, vsi_packed, vsi_visuals),
        position_ids=vsi_packed.positions,
        use_cache=False,
        vsi_layout=vsi_packed.layout,  # for the layers, to which transformers hands what it does not know
    )[0]
    read = hidden[0, vsi_packed.read_index]
    return model.lm_head(read, vsi_log_prob_head=vsi_log_prob_head, vsi_labels=vsi_packed.labels)


def _language_inputs(model: Any, packed: PackedBatch, visuals: Visuals) -> dict[str, Any]:
    """Embeddings (1, T, hidden) of a packed batch, features of videos and images in their places.

    And, for a model with deepstack, where these places are, and the features for each of the first layers.
    """
    embeddings = model.get_input_embeddings()(packed.ids)
    width = embeddings.shape[-1]
    features = visuals.features(functools.partial(run_tower, model.model.visual))
    tokens = [getattr(model.config, f"{kind}_token_id") for kind in KINDS]
    parts = [torch.cat(items) if items else embeddings.new_empty(0, width) for items in features.by_kind.values()]
    for kind, token, part in zip(KINDS, tokens, parts, strict=True):
        embeddings = scatter_features(embeddings, packed.ids, token, part[:, :width], kind)
    inputs = {"inputs_embeds": embeddings + features.nothing}
    deep = {token: part for token, part in zip(tokens, parts, strict=True) if part.shape[-1] > width}
    if deep:
        places, ordered = in_reading_order(packed.ids, deep)
        inputs |= {"visual_pos_masks": places, "deepstack_visual_embeds": ordered.split(width, dim=-1)[1:]}
    return inputs


def _attention_forward(
    attention: Any,
    upstream: Any,
    hidden_states: Tensor,
    *args: Any,
    attention_mask: Any = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **kwargs: Any,
) -> Any:
    if not isinstance(attention_mask, PackedLayout):
        return upstream(
            hidden_states, *args, attention_mask=attention_mask, position_embeddings=position_embeddings, **kwargs
        )
    query, key, value, gate = _project(attention, hidden_states)
    rotated = _rotate(attention, query.transpose(1, 2), key.transpose(1, 2), position_embeddings)
    query, key = (tensor[0].transpose(0, 1) for tensor in rotated)
    out = attend(query, key, value[0], attention_mask, attention.scaling)
    if gate is not None:
        out = out * gate[0].sigmoid()
    return attention.o_proj(out.flatten(1)[None]), None


def _project(attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Queries, keys, values, and the gate of Qwen3.5's outputs, (1, T, heads, width) each."""
    query, *gate = (
        attention.q_proj(hidden)
        .unflatten(-1, (attention.config.num_attention_heads, -1))
        .split(attention.head_dim, dim=-1)
    )
    key, value = (
        projection(hidden).unflatten(-1, (-1, attention.head_dim))
        for projection in (attention.k_proj, attention.v_proj)
    )
    if hasattr(attention, "q_norm"):  # since Qwen3
        query, key = attention.q_norm(query), attention.k_norm(key)
    return query, key, value, gate[0] if gate else None


def _rotate(attention: Any, query: Tensor, key: Tensor, embeddings: Any) -> tuple[Tensor, Tensor]:
    # Looked up at each call, in the model's own module, where Liger and others replace it.
    module = importlib.import_module(type(attention).__module__)
    cos, sin = embeddings
    if hasattr(module, "apply_multimodal_rotary_pos_emb"):
        sections = attention.config.rope_parameters["mrope_section"]
        return module.apply_multimodal_rotary_pos_emb(query, key, cos, sin, sections)
    return module.apply_rotary_pos_emb(query, key, cos, sin)  # since Qwen3 the angles come in their final places


def _linear_attention_forward(
    attention: Any, upstream: Any, hidden_states: Tensor, *args: Any, attention_mask: Any = None, **kwargs: Any
) -> Any:
    if not isinstance(attention_mask, PackedLayout):
        return upstream(hidden_states, *args, attention_mask=attention_mask, **kwargs)
    return attend_linearly(attention, hidden_states, attention_mask)


_SAVED_OPERATORS = [
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._flash_attention_forward.default,
]
"""Operators whose results a layer keeps for its backward pass."""

_MLP_STRETCH = 512
"""Tokens of an MLP at a time, where no backward pass follows."""


def _layer_forward(layer: Any, upstream: Any, *args: Any, vsi_layout: PackedLayout | None = None, **kwargs: Any) -> Any:
    if vsi_layout is not None:
        kwargs["attention_mask"] = vsi_layout  # verl's layer of Qwen3.5 hands its linear attention nothing else
    checkpointed = layer.training and getattr(layer, "gradient_checkpointing", False)  # whole layers, by transformers
    if checkpointed or not torch.is_grad_enabled():
        return upstream(*args, **kwargs)
    contexts = functools.partial(create_selective_checkpoint_contexts, _SAVED_OPERATORS)
    return checkpoint(upstream, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _mlp_forward(_: nn.Module, upstream: Any, hidden: Tensor) -> Tensor:
    if torch.is_grad_enabled() or hidden.shape[-2] <= _MLP_STRETCH:
        return upstream(hidden)
    return torch.cat([upstream(part) for part in hidden.split(_MLP_STRETCH, dim=-2)], dim=-2)
