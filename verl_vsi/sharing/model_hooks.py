"""Qwen2-VL (and 2.5) that also takes a packed batch, and gives log-probabilities at answer positions.

The forwards of the model, of its attention and of its layers are wrapped, on the instance. So a packed batch goes
through the module's `__call__`: FSDP's hooks fire, PEFT's adapters are met, checkpointed layers recompute what they
computed. And it makes no difference whether verl has replaced `Qwen2VLAttention.forward` (it does for
`use_remove_padding`), which bypasses the attention registry of transformers.

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
from verl_vsi.sharing.log_probs import LogProbHead
from verl_vsi.sharing.packed_layout import PackedLayout
from verl_vsi.sharing.packing import PackedBatch
from verl_vsi.sharing.vision import Visuals
from verl_vsi.sharing.vision_features import run_tower, scatter_features


def install(model: Any) -> None:
    """Let `model(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)` return what the head computes."""
    layers, blocks = model.model.language_model.layers, model.model.visual.blocks
    wrap_forward(model, _model_forward)
    for layer in layers:
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
        inputs_embeds=_embed(model, vsi_packed, vsi_visuals),
        attention_mask={"full_attention": vsi_packed.layout},
        position_ids=vsi_packed.positions,
        use_cache=False,
    )[0]
    read = hidden[0, vsi_packed.read_index]
    return model.lm_head(read, vsi_log_prob_head=vsi_log_prob_head, vsi_labels=vsi_packed.labels)


def _embed(model: Any, packed: PackedBatch, visuals: Visuals) -> Tensor:
    """Embeddings (1, T, hidden) of a packed batch, features of videos and images in their places."""
    embeddings = model.get_input_embeddings()(packed.ids)
    features = visuals.features(functools.partial(run_tower, model.model.visual))
    for kind, parts in (("video", features.video), ("image", features.image)):
        token = getattr(model.config, f"{kind}_token_id")
        joined = torch.cat(parts) if parts else embeddings.new_empty(0, embeddings.shape[-1])
        embeddings = scatter_features(embeddings, packed.ids, token, joined, kind)
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
    if not isinstance(attention_mask, PackedLayout):
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


def _layer_forward(layer: Any, upstream: Any, *args: Any, **kwargs: Any) -> Any:
    checkpointed = layer.training and getattr(layer, "gradient_checkpointing", False)  # whole layers, by transformers
    if checkpointed or not torch.is_grad_enabled():
        return upstream(*args, **kwargs)
    contexts = functools.partial(create_selective_checkpoint_contexts, _SAVED_OPERATORS)
    return checkpoint(upstream, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _mlp_forward(_: nn.Module, upstream: Any, hidden: Tensor) -> Tensor:
    if torch.is_grad_enabled() or hidden.shape[-2] <= _MLP_STRETCH:
        return upstream(hidden)
    return torch.cat([upstream(part) for part in hidden.split(_MLP_STRETCH, dim=-2)], dim=-2)
