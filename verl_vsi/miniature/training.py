"""The plain loop that every stage of pretraining shares: AdamW, warm-up, cosine, visible progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.progress import Progress

if TYPE_CHECKING:
    import torch

WARM_UP = 30
"""Steps before the learning rate is at its full height."""
LOWEST = 0.03
"""The learning rate at the end, as a share of the full one."""


def rate(step: int, steps: int) -> float:
    """The share of the learning rate at `step` of `steps`: linear warm-up, then half a cosine."""
    fall = LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * step / steps)) / 2
    return fall * min(1.0, (step + 1) / WARM_UP)


def train(
    name: str,
    parameters: Iterable[torch.nn.Parameter],
    loss_at: Callable[[int], torch.Tensor],
    steps: int,
    learning_rate: float,
    progress: Progress,
) -> float:
    """Take `steps` steps down `loss_at(step)`, a scalar tensor.

    Returns:
        the mean loss of the last fifty steps.
    """
    import torch

    weights = list(parameters)
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    task = progress.add_task(name, total=steps)
    losses: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(step, steps)
        loss = loss_at(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(loss.item())
        progress.update(task, advance=1, description=f"{name}, loss {sum(losses[-50:]) / len(losses[-50:]):.3f}")
    return sum(losses[-50:]) / max(1, len(losses[-50:]))
