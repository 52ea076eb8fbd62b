"""Fewer bytes for the same numbers: what a layer computes cheaply is computed again instead of kept.

For a backward pass a layer keeps what its matrices and its attention gave; norms, rotations and activation functions,
which are most of what PyTorch would keep and none of the work, are computed again from these (selective checkpointing,
Korthikanti et al. 2022, arXiv:2205.05198). Without a backward pass, an MLP, whose inside is the widest thing in a
layer, runs over a stretch of tokens at a time.
"""

from __future__ import annotations

import functools
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

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
        wrap(layer, _layer_forward)
        wrap(layer.mlp, _mlp_forward)
    for block in model.model.visual.blocks:
        wrap(block, _layer_forward)
        wrap(block.mlp, _mlp_forward)


def wrap(module: nn.Module, forward: Any) -> None:
    """Let `forward(module, upstream, *args, **kwargs)` stand in for the module's own `upstream(*args, **kwargs)`."""
    upstream = module.forward

    @functools.wraps(upstream)
    def wrapped(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return forward(self, upstream, *args, **kwargs)

    module.forward = MethodType(wrapped, module)


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
