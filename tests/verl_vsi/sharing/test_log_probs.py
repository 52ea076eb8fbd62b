"""Log-probabilities and entropies: verl's numbers, in chunks as of all positions at once, with few operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

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


def test_values_and_gradients_are_those_of_verls_functions() -> None:
    from verl.utils.torch_functional import entropy_from_logits, logprobs_from_logits

    draw = torch.Generator().manual_seed(3)
    hidden = torch.randn(50, HIDDEN, generator=draw)
    labels = torch.randint(0, 300, (50,), generator=draw)
    weight = (3 * torch.randn(300, HIDDEN, generator=draw)).requires_grad_()
    outputs = LogProbHead(0.7, "loss")(lambda states: states @ weight.T, hidden, labels)
    logits = hidden @ weight.T / 0.7
    upstream = {"log_probs": logprobs_from_logits(logits, labels), "entropy": entropy_from_logits(logits)}
    gradients = []
    for values in (outputs, upstream):
        total = (values["log_probs"] * torch.linspace(-1, 1, 50)).sum() + 0.1 * values["entropy"].sum()
        gradients.append(torch.autograd.grad(total, weight)[0])
    for name, expected in upstream.items():
        torch.testing.assert_close(outputs[name], expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(*gradients, atol=2e-5, rtol=0)


def test_bfloat16_hidden_states_give_log_probabilities_in_float32() -> None:
    """Rounded to bfloat16, a log-probability of -10 is off by up to .03."""
    layer = nn.Linear(HIDDEN, WORDS, bias=False, dtype=torch.bfloat16)
    hidden, labels = torch.randn(POSITIONS, HIDDEN, dtype=torch.bfloat16), torch.arange(POSITIONS) % WORDS
    log_probs = LogProbHead()(layer, hidden, labels)["log_probs"]
    exact = layer(hidden).double().log_softmax(-1)[torch.arange(POSITIONS), labels]
    torch.testing.assert_close(log_probs.double(), exact, atol=1e-5, rtol=0)


class _CountOperators(TorchDispatchMode):
    """How many operators run; on a GPU each is a launch or two."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("entropy", ["loss", "metric", None])
def test_operators_of_a_chunk_are_few_and_do_not_grow_with_its_positions(entropy: Any) -> None:
    """verl's function takes 17,436 for 1024 positions without flash-attn (forward, recomputed, backward)."""
    counts = []
    for positions in (8, log_probs._CHUNK):
        layer = nn.Linear(HIDDEN, WORDS, bias=False, dtype=torch.bfloat16)
        hidden = torch.randn(positions, HIDDEN, dtype=torch.bfloat16, requires_grad=True)
        with _CountOperators() as operators:
            outputs = LogProbHead(0.9, entropy)(layer, hidden, torch.zeros(positions, dtype=torch.long))
            sum(value.sum() for value in outputs.values() if value.requires_grad).backward()  # pyright: ignore
        counts.append(operators.count)
    assert counts[0] == counts[1] < 100
