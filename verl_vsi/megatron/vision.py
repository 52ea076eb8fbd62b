"""Hugging Face's vision tower in front of a Megatron language model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig


def vision_tower(config: Qwen2VLVisionConfig, dtype: torch.dtype) -> nn.Module:
    """Qwen2-VL's tower, whole on every tensor-parallel rank.

    Args:
        config: `vision_config` of the checkpoint.
        dtype: of its parameters.
    """
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

    tower = cast("nn.Module", Qwen2VisionTransformerPretrainedModel._from_config(config))
    keep_buffers(tower)
    tower.to(dtype=dtype)
    for parameter in tower.parameters():
        # Megatron's mark: each rank has the whole gradient, so they are averaged over the ranks, not left to drift
        parameter.average_gradients_across_tp_domain = True  # pyright: ignore[reportAttributeAccessIssue]
    return tower


def keep_buffers(module: nn.Module) -> None:
    """Let a module's buffers move to other devices and never to another dtype.

    Megatron casts a whole model to bfloat16. Hugging Face keeps the tower's rotary frequencies in float32, and so do
    rollouts; in bfloat16, row 26 of a picture is turned by some hundredths of a radian too much or too little.
    """
    for part in module.modules():
        if any(True for _ in part.buffers(recurse=False)):
            part._apply = partial(_apply_to_all_but_dtype_of_buffers, part)  # pyright: ignore[reportAttributeAccessIssue]


def _apply_to_all_but_dtype_of_buffers(
    module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True
) -> nn.Module:
    before = dict(module.named_buffers(recurse=False))
    type(module)._apply(module, function, recurse)
    for name, buffer in before.items():
        setattr(module, name, buffer.to(getattr(module, name).device))
    return module


def features(tower: Callable[..., object], pixels: Tensor, grid_thw: Tensor, dtype: torch.dtype) -> Tensor:
    """What the tower makes of patches.

    Args:
        tower: the vision tower.
        pixels: (patches, channels * 2 * 14 * 14), as the processor writes them.
        grid_thw: (videos, 3), patches in time, height and width.
        dtype: of the tower.

    Returns:
        (tokens, hidden).
    """
    output = tower(pixels.to(dtype), grid_thw=grid_thw)
    # transformers 5 returns an object, 4 the tensor
    return getattr(output, "pooler_output", output)  # pyright: ignore[reportReturnType]


def put_in(embeddings: Tensor, input_ids: Tensor, token: int, vision: Tensor) -> Tensor:
    """Embeddings with the vision features in the places of a vision token.

    Args:
        embeddings: (B, S, hidden).
        input_ids: (B, S).
        token: id of the token that stands for these features.
        vision: (tokens, hidden), in the order of the rows.

    Raises:
        ValueError: there are more or fewer tokens than features.
    """
    places = input_ids == token
    if (count := int(places.sum())) != len(vision):
        raise ValueError(
            f"{count} tokens with id {token} for {len(vision)} vision features: pixel values and input_ids of a batch "
            "must be of the same rows, and prompts with vision are never cut"
        )
    return embeddings.masked_scatter(places.unsqueeze(-1), vision.to(embeddings.dtype))
