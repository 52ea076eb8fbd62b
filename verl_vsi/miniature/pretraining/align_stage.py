"""Stage 1: a video token learns to resemble the words for what it shows (as SigLIP does, arXiv 2303.15343).

The renderer says which categories lie under each token. Only the vision tower learns, towards the word embeddings.
"""

from __future__ import annotations

import numpy as np
import torch
from rich.progress import Progress

from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM
from verl_vsi.miniature.pretraining.room_batch import RoomBatch
from verl_vsi.miniature.pretraining.training_loop import train

ROOMS = 12
"""Videos a step."""
LEARNING_RATE = 3e-3


class Matcher(torch.nn.Module):
    """How likely a video token shows each category: the cosine to its word, scaled and shifted."""

    def __init__(self, words: torch.Tensor) -> None:
        """Keep the words as they are; learn scale and shift only.

        Args:
            words: (12, width) embeddings.
        """
        super().__init__()
        self.words = torch.nn.functional.normalize(words.detach(), dim=-1)
        self.scale, self.shift = torch.nn.Parameter(torch.tensor(2.3)), torch.nn.Parameter(torch.tensor(-3.0))

    def forward(self, video_tokens: torch.Tensor) -> torch.Tensor:
        """(B, 32, width) video tokens to (B, 32, 12) logits."""
        return torch.nn.functional.normalize(video_tokens, dim=-1) @ self.words.T * self.scale.exp() + self.shift


def run_align_stage(vlm: TinyVLM, room_batch: RoomBatch, steps: int, seed: int, progress: Progress) -> float:
    """Train the vision tower to match video tokens with category words.

    Args:
        vlm: the model, changed in place.
        room_batch: what it learns from.
        steps: of the optimizer.
        seed: of the order of rooms.
        progress: where it is shown.

    Returns:
        the last loss, nats a token and category.
    """
    rng = np.random.default_rng([seed, 1])
    matcher = Matcher(vlm.model.model.language_model.embed_tokens.weight[vlm.category_ids])
    labels = torch.from_numpy(room_batch.token_categories).float()

    def loss_at(_: int) -> torch.Tensor:
        indices = rng.choice(len(room_batch.rooms), ROOMS, replace=False)
        logits = matcher(vlm.video_tokens(room_batch.frames[indices]))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[indices])

    weights = [*vlm.model.model.visual.parameters(), *matcher.parameters()]
    return train("align", weights, loss_at, steps, LEARNING_RATE, progress)
