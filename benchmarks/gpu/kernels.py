"""The merged flash kernels of a packed batch against a dense mask: how exact, how fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from gpu.setting import Case, Setting, clock
from torch import Tensor

from verl_vsi.sharing.attention import attend, attend_with_mask
from verl_vsi.sharing.packed_layout import PackedLayout

TITLE = "attention: error over the largest value, beside that of a dense mask in the same type"

WIDTH = 128
"""Of a head, at 2B and 7B."""
_RUNS = 5

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def cases(setting: Setting) -> list[Case]:
    """Heads as published, layouts with what is hard for a kernel."""
    return [{"size": size, "layout": name} for size in setting.sizes for name in _layouts(16, setting.device)]


def _layouts(prompt: int, device: str) -> dict[str, PackedLayout]:
    """Prompts and answers by what is special about them.

    Args:
        prompt: tokens of the longest prompt.
        device: cpu or cuda.
    """
    where = torch.device(device)
    return {
        "unequal answers": PackedLayout((prompt,), ((300, 10, 100, 1000, *[10] * 10),), where),
        "answers of one token": PackedLayout((prompt, prompt // 2), ((1,) * 14, (1,) * 8), where),
        "a group without answers": PackedLayout((prompt, prompt // 2), ((0, 0), (9, 3)), where),
    }


def measure(setting: Setting, case: Case) -> Case:
    """Errors of output and gradients, seconds forward and backward.

    Args:
        setting: device and sizes.
        case: of `cases`.
    """
    shape = setting.shape(case["size"])
    layout = _layouts(64 if setting.tiny else 1224, setting.device)[case["layout"]]
    tokens, width = layout.prompt_tokens + layout.answer_tokens, 16 if setting.tiny else WIDTH
    random = torch.Generator(setting.device).manual_seed(0)
    draw = partial(torch.randn, generator=random, device=setting.device, dtype=setting.torch_dtype)
    tensors = [draw(tokens, heads, width) for heads in (shape.heads, shape.key_heads, shape.key_heads)]
    weights = draw(tokens, shape.heads, width)
    ours: Attention = partial(attend, layout=layout, scale=width**-0.5)
    dense: Attention = partial(attend_with_mask, mask=layout.mask, scale=width**-0.5)
    exact_type = torch.float64 if setting.device == "cpu" else torch.float32
    exact = _with_gradients(dense, [tensor.to(exact_type) for tensor in tensors], weights.to(exact_type))
    return {
        "error": _error(_with_gradients(ours, tensors, weights), exact),
        "dense error": _error(_with_gradients(dense, tensors, weights), exact),
        **{
            f"{name}seconds": min(
                clock(lambda call=call: _with_gradients(call, tensors, weights), setting.device) for _ in range(_RUNS)
            )
            for name, call in (("", ours), ("dense ", dense))
        },
    }


def _with_gradients(call: Attention, tensors: list[Tensor], weights: Tensor) -> list[Tensor]:
    """Output, and gradients of queries, keys and values."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    out = call(*leaves)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def _error(ours: list[Tensor], exact: list[Tensor]) -> float:
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, exact, strict=True))


def summary(rows: list[Case]) -> list[Case]:
    """As measured, and the ratios."""
    return [
        {
            "error": row["error"],
            "over dense": row["error"] / row["dense error"],
            "seconds": row["seconds"],
            "faster": row["dense seconds"] / row["seconds"],
        }
        for row in rows
    ]
