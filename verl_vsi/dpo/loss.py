"""Direct Preference Optimization, https://arxiv.org/abs/2305.18290, equation 7."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import logsigmoid


def sequence_log_probs(log_probs: torch.Tensor, loss_mask: torch.Tensor) -> torch.Tensor:
    """Log-probability of each answer.

    Args:
        log_probs: nested (B, j): at position t, of token t + 1.
        loss_mask: nested (B, j): 1 on the answer's tokens.

    Returns:
        (B,) sums over the answers' tokens.
    """
    mask = torch.roll(loss_mask.values(), shifts=-1, dims=0)  # as verl's sft_loss: no sequence starts with an answer
    lengths = loss_mask.offsets().diff().tolist()  # pyright: ignore[reportAttributeAccessIssue]
    weighted = log_probs.values().float() * mask
    return torch.stack([part.sum() for part in weighted.split(lengths)])


def margins(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """How much more than the reference the policy prefers the chosen answer.

    Args:
        policy: (2B,) log-probabilities, chosen and rejected in turn.
        reference: (2B,) of the reference model.

    Returns:
        (B,) log pi(c)/ref(c) - log pi(r)/ref(r).
    """
    ratios = (policy - reference).view(-1, 2)
    return ratios[:, 0] - ratios[:, 1]


def dpo_loss(
    model_output: dict[str, Any], data: Any, dp_group: Any = None, *, beta: float, pairs: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The loss of a micro-batch, in the form that verl's engines call.

    Args:
        model_output: with `log_probs`, nested (2B, j).
        data: with `loss_mask`, nested (2B, j); `reference`, nested (2B, 1); `dp_size`.
        dp_group: unused.
        beta: how far the policy may leave the reference.
        pairs: of the whole batch, over all ranks; engines average gradients over ranks, so each scales by their number.

    Returns:
        the loss's share of this micro-batch, and metrics.
    """
    policy = sequence_log_probs(model_output["log_probs"], data["loss_mask"])
    margin = margins(policy, data["reference"].values().to(policy))
    loss = -logsigmoid(beta * margin).sum() / pairs * data["dp_size"]
    detached = margin.detach()
    return loss, {
        "dpo/accuracy": (detached > 0).float().mean().item(),
        "dpo/margin": detached.mean().item(),
        "dpo/chosen_log_prob": policy.detach()[0::2].mean().item(),
    }
