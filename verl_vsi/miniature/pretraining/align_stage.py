"""Stage 1: a video token learns to resemble the words for what it shows (as SigLIP does, arXiv 2303.15343).

The renderer says which categories lie under each token. Only the vision tower learns, towards the word embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.progress import Progress

from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES
from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM
from verl_vsi.miniature.pretraining.room_batch import RoomBatch

if TYPE_CHECKING:
    import torch


# MERGED The plain loop that every stage of pretraining shares: AdamW, warm-up, cosine, visible progress.


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


ROOMS = 12
"""Videos a step."""
LEARNING_RATE = 3e-3


def category_ids(pupil: TinyVLM) -> list[int]:
    """The one token of each category's word, in the renderer's order."""
    return [pupil.tokenizer.convert_tokens_to_ids(name) for name in CATEGORIES]


class Matcher(torch.nn.Module):
    """How likely a video token shows each category: the cosine to its word, scaled and shifted."""

    def __init__(self, words: torch.Tensor) -> None:
        """Keep the (12, width) word embeddings as they are; learn scale and shift only."""
        super().__init__()
        self.words = torch.nn.functional.normalize(words.detach(), dim=-1)
        self.scale, self.shift = torch.nn.Parameter(torch.tensor(2.3)), torch.nn.Parameter(torch.tensor(-3.0))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """(B, 32, width) video tokens to (B, 32, 12) logits."""
        return torch.nn.functional.normalize(seen, dim=-1) @ self.words.T * self.scale.exp() + self.shift


def align(pupil: TinyVLM, album: RoomBatch, steps: int, seed: int, progress: Progress) -> float:
    """Teach the vision tower what things are called; returns the last loss, nats a token and category."""
    rng = np.random.default_rng([seed, 1])
    words = pupil.model.model.language_model.embed_tokens.weight[category_ids(pupil)]
    matcher = Matcher(words)
    shows = torch.from_numpy(album.shows).float()

    def loss_at(_: int) -> torch.Tensor:
        rooms = rng.choice(len(album.rooms), ROOMS, replace=False)
        return torch.nn.functional.binary_cross_entropy_with_logits(
            matcher(pupil.see(album.frames[rooms])), shows[rooms]
        )

    weights = [*pupil.model.model.visual.parameters(), *matcher.parameters()]
    return train("align", weights, loss_at, steps, LEARNING_RATE, progress)
