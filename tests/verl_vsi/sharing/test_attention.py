"""Three merged calls of a flash kernel are attention with the dense mask; the mask is what the layout says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from verl_vsi.sharing import kernels
from verl_vsi.sharing.attention import attend, attend_with_mask
from verl_vsi.sharing.kernels import CudaKernel, Pairs
from verl_vsi.sharing.packed_layout import PackedLayout

CPU = torch.device("cpu")

LAYOUTS = {
    "unequal answers": PackedLayout((37,), ((5, 3, 1, 9),), CPU),
    "two groups, an answer without tokens": PackedLayout((37, 20), ((5, 3, 1, 9), (0, 4)), CPU),
    "one answer much longer": PackedLayout((30,), ((600, 2, 5),), CPU),
    "many equal groups": PackedLayout((16, 17, 18), ((4, 4), (4, 4), (4, 4)), CPU),
    "no answer has tokens": PackedLayout((9, 7), ((0, 0), (0,)), CPU),
    "a group without answer tokens": PackedLayout((9, 8), ((0,), (3,)), CPU),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_merged_calls_equal_the_dense_mask(layout: PackedLayout) -> None:
    torch.manual_seed(0)
    tokens = layout.prompt_tokens + layout.answer_tokens
    query = torch.randn(tokens, 4, 16, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(tokens, 2, 16, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weights = torch.randn_like(query)
    results = []
    for out in (attend(query, key, value, layout, 0.25), attend_with_mask(query, key, value, layout.mask, 0.25)):
        results.append((out, *torch.autograd.grad((out * weights).sum(), (query, key, value))))
    for ours, dense in zip(*results, strict=True):
        torch.testing.assert_close(ours, dense, atol=1e-12, rtol=0)


def test_the_mask_by_hand() -> None:
    """Two prompts of two tokens; the first has answers of two and one tokens, the second one of one token."""
    expected = [
        "x.......",
        "xx......",
        "..x.....",
        "..xx....",
        "xx..x...",
        "xx..xx..",
        "xx....x.",
        "..xx...x",
    ]
    mask = PackedLayout((2, 2), ((2, 1), (1,)), CPU).mask
    assert ["".join(".x"[cell] for cell in row) for row in mask.int().tolist()] == expected


def test_the_cuda_kernel_is_called_as_torch_declares_it() -> None:
    """Without a GPU, torch's meta device checks shapes and types, and nothing more."""
    meta = torch.device("meta")
    layout = PackedLayout((37, 20), ((5, 3), (4,)), meta)
    pairs = Pairs(layout.answers_by_group, layout.prompts, False, 0.25)
    query = torch.empty(12, 4, 64, dtype=torch.bfloat16, device=meta)
    key, value = (torch.empty(57, 2, 64, dtype=torch.bfloat16, device=meta) for _ in range(2))
    out, lse = CudaKernel().forward(query, key, value, pairs)
    assert (out.shape, lse.shape) == ((12, 4, 64), (12, 4))
    grads = CudaKernel().backward(out, query, key, value, out, lse, pairs)
    assert [grad.shape for grad in grads] == [query.shape, key.shape, value.shape]


def test_torch_is_never_told_that_all_answers_have_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take each stretch to have exactly one query (its path for decoding), and these have one and none.

    The operator stands in for torch's, which needs a GPU; it does what `mha_varlen_fwd` does before its kernel.
    """

    def forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_q: torch.Tensor, *rest: Any, **_: Any) -> Any:
        longest_query, (tokens, heads, width), groups = rest[1], q.shape, k.shape[1]
        if longest_query == 1 and heads > groups:
            q.reshape(len(cu_q) - 1, groups, heads // groups, width)
        return q, torch.zeros(heads, tokens)

    monkeypatch.setattr(kernels, "aten", SimpleNamespace(_flash_attention_forward=forward))
    layout = PackedLayout((9, 8), ((1,), (0,)), CPU)
    pairs = Pairs(layout.answers_by_group, layout.prompts, False, 0.25)
    key = torch.randn(17, 2, 16)
    out, lse = CudaKernel().forward(torch.randn(1, 4, 16), key, key, pairs)
    assert (out.shape, lse.shape) == ((1, 4, 16), (1, 4))
