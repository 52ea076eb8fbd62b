from __future__ import annotations

import math

import pytest
import torch

from verl_vsi.dpo.loss import dpo_loss, margins, sequence_log_probs


def nested(*rows: list[float]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


# two answers after prompts of 2 and 1 tokens; position t holds the log-probability of token t + 1
LOG_PROBS = nested([-9.0, -1.0, -2.0, -9.0], [-0.5, -9.0])
MASK = nested([0.0, 0.0, 1.0, 1.0], [0.0, 1.0])


def test_only_the_answers_tokens_count() -> None:
    assert sequence_log_probs(LOG_PROBS, MASK).tolist() == [-3.0, -0.5]


def test_the_margin_is_of_chosen_over_rejected_beyond_the_reference() -> None:
    policy, reference = torch.tensor([-3.0, -0.5, -1.0, -2.0]), torch.tensor([-4.0, -0.5, -1.0, -1.0])
    assert margins(policy, reference).tolist() == [1.0, 1.0]


def data(reference: list[list[float]], ranks: int = 1) -> dict[str, object]:
    return {"loss_mask": MASK, "reference": nested(*reference), "dp_size": ranks}


def test_a_policy_that_is_the_reference_loses_log_two() -> None:
    loss, metrics = dpo_loss({"log_probs": LOG_PROBS}, data([[-3.0], [-0.5]]), beta=0.1, pairs=1)
    assert loss.item() == pytest.approx(math.log(2))
    assert metrics["dpo/margin"] == 0.0


def test_equation_7_by_hand() -> None:
    loss, metrics = dpo_loss({"log_probs": LOG_PROBS}, data([[-5.0], [-1.5]], ranks=2), beta=0.5, pairs=4)
    margin = (-3.0 - -5.0) - (-0.5 - -1.5)
    assert loss.item() == pytest.approx(-math.log(1 / (1 + math.exp(-0.5 * margin))) / 4 * 2)
    assert metrics["dpo/accuracy"] == 1.0


def test_the_gradient_raises_the_chosen_and_lowers_the_rejected_answer() -> None:
    values = LOG_PROBS.values().clone().requires_grad_()
    log_probs = torch.nested.nested_tensor_from_jagged(values, LOG_PROBS.offsets())  # pyright: ignore
    dpo_loss({"log_probs": log_probs}, data([[-3.0], [-0.5]]), beta=0.1, pairs=1)[0].backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0.0, -0.05, -0.05, 0.0, 0.05, 0.0])


def test_a_larger_beta_is_content_with_a_smaller_margin() -> None:
    """So it keeps the policy closer to the reference: at the same margin less of a pair's pull is left."""

    def share_left(beta: float) -> float:
        values = LOG_PROBS.values().clone().requires_grad_()
        log_probs = torch.nested.nested_tensor_from_jagged(values, LOG_PROBS.offsets())  # pyright: ignore
        loss, metrics = dpo_loss({"log_probs": log_probs}, data([[-5.0], [-0.5]]), beta=beta, pairs=1)
        loss.backward()
        assert metrics["dpo/margin"] == 2.0
        return -values.grad[1].item() / beta  # pyright: ignore[reportOptionalSubscript]

    assert share_left(0.01) > share_left(0.1) > share_left(0.5) == pytest.approx(1 / (1 + math.e))
