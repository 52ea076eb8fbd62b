"""MLPs in stretches and recomputed layers give the numbers of the plain way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from verl_vsi.sharing import model_hooks

HIDDEN = 6


class Recorder(nn.Module):
    """A module that remembers how many tokens it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        self.calls: list[int] = []

    def forward(self, hidden: Tensor) -> Tensor:
        self.calls.append(hidden.shape[-2])
        return self.linear(hidden).sigmoid()


def test_an_mlp_runs_over_stretches_where_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_hooks, "_MLP_STRETCH", 4)
    mlp, hidden = Recorder(), torch.randn(1, 10, HIDDEN)
    plain = mlp(hidden)
    model_hooks.wrap_forward(mlp, model_hooks._mlp_forward)
    with torch.no_grad():
        torch.testing.assert_close(mlp(hidden), plain)
    mlp(hidden)
    assert mlp.calls == [10, 4, 4, 2, 10]


def test_a_layer_is_computed_again_with_its_own_gradients() -> None:
    layer, hidden = Recorder(), torch.randn(1, 10, HIDDEN)
    layer(hidden).sum().backward()
    plain = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad(set_to_none=True)
    layer.calls.clear()
    model_hooks.wrap_forward(layer, model_hooks._layer_forward)
    layer(hidden).sum().backward()
    torch.testing.assert_close([parameter.grad for parameter in layer.parameters()], plain)
    assert layer.calls == [10, 10]


def test_a_layer_that_transformers_checkpoints_is_left_to_it() -> None:
    layer: Any = Recorder()
    layer.gradient_checkpointing = True
    model_hooks.wrap_forward(layer, model_hooks._layer_forward)
    layer(torch.randn(1, 10, HIDDEN)).sum().backward()
    assert layer.calls == [10]
