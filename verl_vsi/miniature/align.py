"""Stage 1: a video token learns to resemble the words for what it shows (as SigLIP does, arXiv 2303.15343).

The renderer says which categories lie under each token. Only the vision tower learns, towards the word embeddings.
"""

from __future__ import annotations

import numpy as np
import torch
from rich.progress import Progress

from verl_vsi.data_adapters.rooms import CATEGORIES
from verl_vsi.miniature.album import Album
from verl_vsi.miniature.pupil import Pupil
from verl_vsi.miniature.training import train

ROOMS = 12
"""Videos a step."""
LEARNING_RATE = 3e-3


def category_ids(pupil: Pupil) -> list[int]:
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


def align(pupil: Pupil, album: Album, steps: int, seed: int, progress: Progress) -> float:
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
