"""Log-probabilities and entropies in chunks are those of all positions at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from verl_vsi.sharing import log_probs
from verl_vsi.sharing.log_probs import LogProbHead

POSITIONS, HIDDEN, WORDS = 11, 6, 9


def run(head: LogProbHead, weight: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
    """The outputs for fixed hidden states, and the weight's gradient."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(POSITIONS, HIDDEN, generator=draw)
    labels = torch.randint(0, WORDS, (POSITIONS,), generator=draw)
    weight.grad = None
    outputs = head(lambda states: states @ weight.T, hidden, labels)
    sum(value.sum() for value in outputs.values() if value.requires_grad).backward()  # pyright: ignore
    return outputs, weight.grad


@pytest.mark.parametrize("entropy", ["loss", "metric", None])
def test_chunks_give_what_all_positions_at_once_give(entropy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(WORDS, HIDDEN, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whole, whole_gradient = run(LogProbHead(0.7, entropy), weight)
    monkeypatch.setattr(log_probs, "_CHUNK", 4)
    parts, gradient = run(LogProbHead(0.7, entropy), weight)
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)
    torch.testing.assert_close(gradient, whole_gradient)


def test_log_probabilities_are_those_of_the_softmax_at_the_temperature() -> None:
    weight = torch.randn(WORDS, HIDDEN).requires_grad_()
    hidden, labels = torch.randn(POSITIONS, HIDDEN), torch.arange(POSITIONS) % WORDS
    outputs = LogProbHead(0.5, "loss")(lambda states: states @ weight.T, hidden, labels)
    logs = (hidden @ weight.T / 0.5).log_softmax(-1)
    torch.testing.assert_close(outputs["log_probs"], logs[torch.arange(POSITIONS), labels])
    torch.testing.assert_close(outputs["entropy"], -(logs.exp() * logs).sum(-1))


def test_an_entropy_that_is_a_metric_has_no_gradient() -> None:
    weight = torch.randn(WORDS, HIDDEN).requires_grad_()
    labels = torch.zeros(POSITIONS, dtype=torch.long)
    outputs = LogProbHead(1.0, "metric")(lambda states: states @ weight.T, torch.randn(POSITIONS, HIDDEN), labels)
    assert outputs["log_probs"].requires_grad
    assert not outputs["entropy"].requires_grad
