r"""Direct Preference Optimization (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290), equation 7.

RLHF looks for the policy that maximises reward minus a KL penalty (equation 3),

$$\max_\pi \; \mathbb{E}[r(x, y)] - \beta \, \mathrm{KL}(\pi \,\|\, \pi_{\mathrm{ref}}).$$

DPO needs neither a reward model nor sampling: the policy itself stands for the reward that it would be best for,

$$\hat r(x, y) = \beta \log \frac{\pi(y \mid x)}{\pi_{\mathrm{ref}}(y \mid x)}$$

(up to a term that depends on x alone), and is fitted so that chosen answers c get a higher one than rejected answers r:

$$\mathcal{L} = -\mathbb{E}\left[\log \sigma\big(\hat r(x, c) - \hat r(x, r)\big)\right].$$

So beta is the strength of the implicit KL constraint: a larger one keeps the policy closer to the reference. It usually
lies between 0.01 and 0.5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import logsigmoid


def sequence_log_probs(log_probs: torch.Tensor, loss_mask: torch.Tensor) -> torch.Tensor:
    """Log-probability of each answer, log pi(y | x).

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
    # log pi/ref of each answer: its implicit reward over beta
    log_ratios = (policy - reference).view(-1, 2)
    return log_ratios[:, 0] - log_ratios[:, 1]


def dpo_loss(
    model_output: dict[str, Any], data: Any, dp_group: Any = None, *, beta: float, pairs: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The loss of a micro-batch, in the form that verl's engines call.

    Args:
        model_output: with `log_probs`, nested (2B, j).
        data: with `loss_mask`, nested (2B, j); `reference`, nested (2B, 1); `dp_size`.
        dp_group: unused.
        beta: strength of the implicit KL constraint; a larger one keeps the policy closer to the reference.
        pairs: of the whole batch, over all ranks; engines average gradients over ranks, so each scales by their number.

    Returns:
        the loss's share of this micro-batch, and metrics.
    """
    policy = sequence_log_probs(model_output["log_probs"], data["loss_mask"])
    margin = margins(policy, data["reference"].values().to(policy))
    # log sigma(beta * margin): near 0 where the chosen answer leads clearly, so such pairs hardly pull any more;
    # a small beta asks for a larger margin before that, further from the reference
    loss = -logsigmoid(beta * margin).sum() / pairs * data["dp_size"]
    detached = margin.detach()
    return loss, {
        "dpo/accuracy": (detached > 0).float().mean().item(),
        "dpo/margin": detached.mean().item(),
        "dpo/chosen_log_prob": policy.detach()[0::2].mean().item(),
    }
