"""A packed batch through a linear-attention layer gives what each row alone gives, backwards too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from vsi_support.random_models import FAMILIES

from verl_vsi.sharing.linear_attention import attend_linearly
from verl_vsi.sharing.packed_layout import PackedLayout

CPU = torch.device("cpu")

LAYOUTS = {
    "one answer": PackedLayout((9,), ((5,),), CPU),
    "unequal answers": PackedLayout((9,), ((5, 1, 70),), CPU),
    "a prompt shorter than the convolution looks back": PackedLayout((2,), ((4, 2),), CPU),
    "a prompt of several chunks, a short one": PackedLayout((150, 3), ((5, 2), (66,)), CPU),
    "a group whose answers have nothing to compute": PackedLayout((7, 4), ((0, 0), (3, 0)), CPU),
    "no answers": PackedLayout((7,), ((0,),), CPU),
}


@pytest.fixture(scope="module")
def layer() -> Any:
    """Of a tiny Qwen3.5."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU

    return FAMILIES["qwen3_5"].random_model().model.language_model.layers[0].linear_attn


def row_by_row(layer: Any, hidden: Tensor, layout: PackedLayout) -> Tensor:
    """The layer's own forward, each prompt anew with each of its answers."""
    prompts = hidden[0, : layout.prompt_tokens].split(layout.prompt_lengths)
    answers = iter(hidden[0, layout.prompt_tokens :].split([length for g in layout.answer_lengths for length in g]))
    out = [layer(prompt[None])[0] for prompt in prompts]
    for prompt, lengths in zip(prompts, layout.answer_lengths, strict=True):
        out += [layer(torch.cat((prompt, next(answers)))[None])[0, len(prompt) :] for _ in lengths]
    return torch.cat(out)[None]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_packed_batch_gives_what_each_row_gives(layer: Any, layout: PackedLayout) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(1, layout.prompt_tokens + layout.answer_tokens, layer.hidden_size, requires_grad=True)
    weights = torch.randn_like(hidden)
    results = []
    for forward in (attend_linearly, row_by_row):
        out = forward(layer, hidden, layout)
        results.append((out, *torch.autograd.grad((out * weights).sum(), [hidden, *layer.parameters()])))
    for packed, alone in zip(*results, strict=True):
        torch.testing.assert_close(packed, alone, atol=1e-5 * alone.abs().max().item(), rtol=1e-5)
