r"""Attention of a packed batch: exact, and without repeating a prompt's keys for each answer.

Three calls of a flash kernel: each prompt to itself (causal), all answers of a group to its prompt, each answer to
itself (causal). The last two are merged by their log-sum-exps (the identity behind ring attention, Liu et al. 2023,
arXiv:2310.01889):

$$\ell = \log(e^{\ell_1} + e^{\ell_2}), \qquad o = o_1 e^{\ell_1 - \ell} + o_2 e^{\ell_2 - \ell}.$$

Backwards, each call is given the merged $o$ and $\ell$; its gradients are then its share of the exact ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from verl_vsi.sharing.kernels import Kernel, Pairs, kernel_for
from verl_vsi.sharing.packed_layout import PackedLayout


def attend(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Attention of a packed batch.

    Args:
        query: (T, H, D).
        key: (T, K, D), H a multiple of K.
        value: (T, K, D).
        layout: lengths of prompts and answers, T tokens in all.
        scale: factor on the scores.

    Returns:
        (T, H, D).
    """
    kernel = kernel_for(query)
    if kernel is None:
        return attend_with_mask(query, key, value, layout.mask, scale)
    if not kernel.grouped:
        repeats = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key, value))
    return _Packed.apply(query, key, value, layout, scale, kernel)  # pyright: ignore[reportReturnType]


def attend_with_mask(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The same with a dense mask: any device, more memory.

    Args:
        query: (T, H, D).
        key: (T, K, D), H a multiple of K.
        value: (T, K, D).
        mask: (T, T) bool, true where a token sees another.
        scale: factor on the scores.

    Returns:
        (T, H, D).
    """
    query, key, value = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    out = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out[0].transpose(0, 1)


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float, kernel: Kernel
    ) -> Tensor:
        ctx.within_prompts, ctx.to_prompts, ctx.within_answers = _calls(layout, scale)
        ctx.layout, ctx.kernel = layout, kernel
        q_prompts, q_answers = _halves(query, layout)
        k_prompts, k_answers = _halves(key, layout)
        v_prompts, v_answers = _halves(value, layout)
        out, lse = kernel.forward(q_prompts, k_prompts, v_prompts, ctx.within_prompts)
        if layout.answer_tokens:
            over_prompts = kernel.forward(q_answers, k_prompts, v_prompts, ctx.to_prompts)
            over_answers = kernel.forward(q_answers, k_answers, v_answers, ctx.within_answers)
            merged = _merge(*over_prompts, *over_answers)
            out, lse = torch.cat((out, merged[0])), torch.cat((lse, merged[1]))
        ctx.save_for_backward(query, key, value, out, lse)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        layout, kernel = ctx.layout, ctx.kernel
        tensors = [_halves(tensor, layout) for tensor in (grads[0], *ctx.saved_tensors)]
        prompts, (grad, query, key, value, out, lse) = zip(*tensors, strict=True)
        dq, dk, dv = kernel.backward(*prompts, ctx.within_prompts)
        if layout.answer_tokens:
            over_prompts = kernel.backward(grad, query, prompts[2], prompts[3], out, lse, ctx.to_prompts)
            over_answers = kernel.backward(grad, query, key, value, out, lse, ctx.within_answers)
            dq = torch.cat((dq, over_prompts[0] + over_answers[0]))
            dk = torch.cat((dk + over_prompts[1], over_answers[1]))
            dv = torch.cat((dv + over_prompts[2], over_answers[2]))
        return dq, dk, dv, None, None, None


def _calls(layout: PackedLayout, scale: float) -> tuple[Pairs, Pairs, Pairs]:
    """Within the prompts, from answers to their prompt, within each answer."""
    return (
        Pairs(layout.prompts, layout.prompts, True, scale),
        Pairs(layout.answers_by_group, layout.prompts, False, scale),
        Pairs(layout.answers, layout.answers, True, scale),
    )


def _halves(tensor: Tensor, layout: PackedLayout) -> tuple[Tensor, Tensor]:
    """Tokens of prompts, tokens of answers."""
    return tensor[: layout.prompt_tokens], tensor[layout.prompt_tokens :]


def _merge(out1: Tensor, lse1: Tensor, out2: Tensor, lse2: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (T, H, D) and log-sum-exps (T, H) over two sets of keys, as over both at once."""
    lse = torch.logaddexp(lse1, lse2)
    out = out1 * (lse1 - lse).exp()[..., None] + out2 * (lse2 - lse).exp()[..., None]
    return out.to(out1.dtype), lse
