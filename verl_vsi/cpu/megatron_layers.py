"""megatron-core's local layers, with what these lack on a CPU: packed rows ("thd") and sequence parallelism."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.dot_product_attention import DotProductAttention
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from torch import Tensor
from torch.nn import functional


class CpuAttention(DotProductAttention):
    """Causal attention by torch's kernel, of rows of one length or of packed ones."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        attn_mask_type: AttnMaskType | None = None,
        *_: Any,
        packed_seq_params: Any = None,
        **__: Any,
    ) -> Tensor:
        """As megatron-core's.

        Args:
            query: (S, B, H, D); packed: (T, H, D).
            key: (S, B, K, D) or (T, K, D), H a multiple of K.
            value: like `key`.
            attention_mask: not taken; tokens see those before them.
            attn_mask_type: causal.
            packed_seq_params: where packed rows begin; None for rows of one length.

        Returns:
            (S, B, H * D) or (T, H * D).

        Raises:
            NotImplementedError: another mask.
        """
        causal = (attn_mask_type or self.attn_mask_type) in (AttnMaskType.causal, AttnMaskType.padding_causal)
        if not causal or attention_mask is not None:
            raise NotImplementedError(f"attention on a CPU is causal and takes no mask, not {attn_mask_type}")
        if packed_seq_params is None:
            out = self._attend(*(tensor.permute(1, 2, 0, 3) for tensor in (query, key, value)))
            return out.permute(2, 0, 1, 3).flatten(2)
        starts = packed_seq_params.cu_seqlens_q_padded
        starts = (packed_seq_params.cu_seqlens_q if starts is None else starts).tolist()
        query, key, value = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
        rows = [
            self._attend(*(tensor[:, :, start:end] for tensor in (query, key, value)))
            for start, end in pairwise(starts)
        ]
        return torch.cat(rows, dim=2)[0].transpose(0, 1).flatten(1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, H, S, D)."""
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=self.softmax_scale, enable_gqa=query.shape[1] != key.shape[1]
        )


class CpuNorm(torch.nn.RMSNorm):
    """torch's norm; megatron-core's wrapper of it refuses sequence parallelism, for want of a mark on the weight."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        """As megatron-core makes a norm.

        Args:
            config: of the model.
            hidden_size: width.
            eps: under the root.
        """
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype)
        self.weight.sequence_parallel = config.sequence_parallel  # pyright: ignore[reportAttributeAccessIssue]


def layer_spec(config: Any, vp_stage: int | None = None) -> TransformerBlockSubmodules:
    """The layers of this pipeline stage.

    Args:
        config: of the model.
        vp_stage: number among the virtual stages of a rank.
    """
    local: Any = get_gpt_layer_local_spec(normalization="RMSNorm", qk_layernorm=config.qk_layernorm)
    attention = local.submodules.self_attention
    norms = dict.fromkeys(("q_layernorm", "k_layernorm"), CpuNorm) if config.qk_layernorm else {}
    layer = replace(
        local,
        submodules=replace(
            local.submodules,
            self_attention=replace(
                attention, submodules=replace(attention.submodules, core_attention=CpuAttention, **norms)
            ),
            input_layernorm=CpuNorm,
            pre_mlp_layernorm=CpuNorm,
        ),
    )
    layers = get_num_layers_to_build(config, vp_stage=vp_stage)
    norm: Any = CpuNorm
    return TransformerBlockSubmodules(layer_specs=[layer] * layers, layer_norm=norm)
