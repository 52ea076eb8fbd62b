"""Flash attention over stretches of tokens, forward and backward, with the log-sum-exp given out and taken in.

torch has both kernels as operators, so no other package is needed: `_flash_attention_forward` on CUDA (bfloat16 and
float16), `_scaled_dot_product_flash_attention_for_cpu` on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from verl_vsi.sharing.packed_layout import Segments

aten: Any = torch.ops.aten


_PADDING_WORTH_A_CALL = 512
"""Padding tokens a stretch, up to which one padded call beats many calls."""


@dataclass(frozen=True)
class Pairs:
    """Stretch i of the queries attends to stretch i of the keys; causally, only where these are the same stretches."""

    queries: Segments
    keys: Segments
    causal: bool
    scale: float

    def __iter__(self) -> Any:
        """Start and end of the queries, start and end of the keys, where there are queries."""
        q, k = self.queries.bounds, self.keys.bounds
        return (bounds for bounds in zip(q, q[1:], k, k[1:], strict=False) if bounds[0] < bounds[1])

    @property
    def padded_together(self) -> bool:
        """Whether padding to the longest costs less than calls: many short stretches, each to itself."""
        lengths = self.queries.lengths
        padding = self.queries.longest - sum(lengths) / max(len(lengths), 1)
        return self.causal and len(lengths) > 1 and padding < _PADDING_WORTH_A_CALL


class Kernel(Protocol):
    """Flash attention on one kind of device."""

    grouped: bool
    """Whether K may be smaller than H."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Output (Tq, H, D) and log-sum-exp (Tq, H).

        Args:
            q: queries (Tq, H, D).
            k: keys (Tk, K, D).
            v: values (Tk, K, D).
            pairs: which stretches of them belong together.
        """
        ...

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of q, k and v, for an output and a log-sum-exp that may cover further keys.

        Args:
            grad: of the output (Tq, H, D).
            q: queries (Tq, H, D).
            k: keys (Tk, K, D).
            v: values (Tk, K, D).
            out: output (Tq, H, D).
            lse: log-sum-exp (Tq, H).
            pairs: which stretches of them belong together.
        """
        ...


def kernel_for(query: Tensor) -> Kernel | None:
    """The kernel for this device and type; none for float32 on a GPU and for other devices."""
    if query.device.type == "cpu":
        return CpuKernel()
    if query.device.type == "cuda" and query.dtype in (torch.bfloat16, torch.float16):
        return CudaKernel()
    return None


class CudaKernel:
    """All stretches in one launch."""

    grouped = True

    def forward(self, q: Tensor, k: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """See `Kernel`."""
        bounds, causal, scale = _bounds(pairs), pairs.causal, pairs.scale
        out, lse, *_ = aten._flash_attention_forward(q, k, v, *bounds, 0.0, causal, False, scale=scale)
        return out, lse.transpose(0, 1)

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Kernel`."""
        random_state = torch.empty(2, dtype=torch.uint64, device=q.device), torch.empty(0, device=q.device)
        tensors = (grad.contiguous(), q, k, v, out.contiguous(), lse.transpose(0, 1).contiguous())
        no_dropout = (0.0, pairs.causal, *random_state)
        return aten._flash_attention_backward(*tensors, *_bounds(pairs), *no_dropout, scale=pairs.scale)


def _bounds(pairs: Pairs) -> tuple[Tensor, Tensor, int, int]:
    # "Longest" of 1 is torch's sign for decoding: it then folds heads that share keys, and takes for granted that each
    # stretch has a query. A group whose answers have no token but the last one has none.
    longest = max(pairs.queries.longest, 2)
    return pairs.queries.cumulative, pairs.keys.cumulative, longest, pairs.keys.longest


class CpuKernel:
    """One call a stretch; many short stretches that attend to themselves go together, padded to the longest."""

    grouped = False

    def forward(self, q: Tensor, k: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """See `Kernel`."""
        if pairs.padded_together:
            index, real = pairs.queries.padded
            out, lse = _forward(q[index], k[index], v[index], pairs)
            return out[real], lse[real]
        parts = [_forward(q[a:b][None], k[c:d][None], v[c:d][None], pairs) for a, b, c, d in pairs]
        return torch.cat([out[0] for out, _ in parts]), torch.cat([lse[0] for _, lse in parts])

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Kernel`."""
        if pairs.padded_together:
            index, real = pairs.queries.padded
            # A padding cell's gradient is zero and its log-sum-exp infinite: its weights vanish.
            grad, out = (torch.where(real[..., None, None], tensor[index], 0) for tensor in (grad, out))
            lse = lse[index].masked_fill(~real[..., None], torch.inf)
            grads = _backward(grad, q[index], k[index], v[index], out, lse, pairs)
            return grads[0][real], grads[1][real], grads[2][real]
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for a, b, c, d in pairs:
            parts = _backward(
                grad[a:b][None], q[a:b][None], k[c:d][None], v[c:d][None], out[a:b][None], lse[a:b][None], pairs
            )
            dq[a:b], dk[c:d], dv[c:d] = (part[0] for part in parts)
        return dq, dk, dv


def _forward(q: Tensor, k: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """(B, L, H, D) each -> output (B, L, H, D), log-sum-exp (B, L, H)."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    flash = aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = flash(q, k, v, 0.0, pairs.causal, attn_mask=None, scale=pairs.scale)
    return out.transpose(1, 2), lse.transpose(1, 2)


def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, pairs: Pairs
) -> tuple[Tensor, Tensor, Tensor]:
    # The kernel reads outputs, gradients and log-sum-exps as (B, L, H, ...) memory, whatever their strides say.
    tensors = [tensor.contiguous().transpose(1, 2) for tensor in (grad, q, k, v, out, lse)]
    flash = aten._scaled_dot_product_flash_attention_for_cpu_backward
    dq, dk, dv = flash(*tensors, 0.0, pairs.causal, attn_mask=None, scale=pairs.scale)
    return dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2)
