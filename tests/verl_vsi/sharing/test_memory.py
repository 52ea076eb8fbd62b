"""Reading answers in chunks, MLPs in stretches, recomputed layers: the numbers of the plain way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from verl_vsi.sharing import log_probs, model_hooks
from verl_vsi.sharing.log_probs import LogProbHead

POSITIONS, HIDDEN, WORDS = 11, 6, 9


def read(how: LogProbHead, weight: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
    """What is read of fixed hidden states, and the weight's gradient."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(POSITIONS, HIDDEN, generator=draw)
    labels = torch.randint(0, WORDS, (POSITIONS,), generator=draw)
    weight.grad = None
    found = how(lambda states: states @ weight.T, hidden, labels)
    sum(value.sum() for value in found.values() if value.requires_grad).backward()  # pyright: ignore
    return found, weight.grad


@pytest.mark.parametrize("entropy", ["loss", "metric", None])
def test_chunks_read_what_all_positions_at_once_read(entropy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(WORDS, HIDDEN, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whole, whole_gradient = read(LogProbHead(0.7, entropy), weight)
    monkeypatch.setattr(log_probs, "_CHUNK", 4)
    parts, gradient = read(LogProbHead(0.7, entropy), weight)
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)
    torch.testing.assert_close(gradient, whole_gradient)


def test_log_probabilities_are_those_of_the_softmax_at_the_temperature() -> None:
    weight = torch.randn(WORDS, HIDDEN).requires_grad_()
    hidden, labels = torch.randn(POSITIONS, HIDDEN), torch.arange(POSITIONS) % WORDS
    found = LogProbHead(0.5, "loss")(lambda states: states @ weight.T, hidden, labels)
    logs = (hidden @ weight.T / 0.5).log_softmax(-1)
    torch.testing.assert_close(found["log_probs"], logs[torch.arange(POSITIONS), labels])
    torch.testing.assert_close(found["entropy"], -(logs.exp() * logs).sum(-1))


def test_an_entropy_that_is_a_metric_has_no_gradient() -> None:
    weight = torch.randn(WORDS, HIDDEN).requires_grad_()
    labels = torch.zeros(POSITIONS, dtype=torch.long)
    found = LogProbHead(1.0, "metric")(lambda states: states @ weight.T, torch.randn(POSITIONS, HIDDEN), labels)
    assert found["log_probs"].requires_grad
    assert not found["entropy"].requires_grad


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
