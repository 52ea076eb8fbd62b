"""Buffers that keep their dtype when Megatron casts a whole model to bfloat16.

Hugging Face keeps the vision tower's rotary frequencies in float32, and so do rollouts; in bfloat16, row 26 of a
picture is turned by some hundredths of a radian too much or too little. `Float16Module` has no list of exceptions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def keep_buffers(module: nn.Module) -> None:
    """Let a module's buffers move to other devices and never to another dtype.

    Args:
        module: of a model that this process has built; its classes stay as they are.
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
