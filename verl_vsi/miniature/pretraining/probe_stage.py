"""Stage 2: a category's word, read behind a video, learns to hold how many there are, where, and how large.

Throw-away linear probes read counts, places and sizes from the words' hidden states below the last layer, so that
the last two layers can still carry them to an answer. A regression shows the way to a place much sooner than digits do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress
from torch.nn.functional import cross_entropy, smooth_l1_loss

from verl_vsi.data_adapters.synthetic_rooms import Room
from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM, prefix_positions
from verl_vsi.miniature.pretraining.room_batch import RoomBatch
from verl_vsi.miniature.pretraining.training_loop import train

ROOMS = 8
"""Videos a step."""
LEARNING_RATE = 2e-3
MOST = 6
"""Objects of one category in a room."""
FARTHEST = 24
"""Tokens between the video and a word, drawn anew each time: in a question it may stand anywhere."""
READ = -3
"""The hidden states that probes read: what enters the last layer but one."""
CENTER, SCALE = torch.tensor([2.6, 2.8, 0.1]), torch.tensor([2.0, 1.5, 0.4])
ROOM_CENTER, ROOM_SCALE = 1.6, 0.3
"""Middle and spread of places (metres), log longest sides and log room sides, which regressions like near one."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What the probes are to read.

    Args:
        counts: (N, 12) int64, at most `MOST`; or (M,) of some words.
        places: (N, 12, 3) scaled x, y and log longest side of categories that occur once, else NaN; or (M, 3).
        sides: (N, 2) scaled log width and depth of the room.
    """

    counts: torch.Tensor
    places: torch.Tensor
    sides: torch.Tensor


class Probes(torch.nn.Module):
    """Linear readers of normed hidden states."""

    def __init__(self, width: int) -> None:
        """Readers of a word's count, place and size, and of the room's sides at the video's end.

        Args:
            width: of the hidden states.
        """
        super().__init__()
        self.norm = torch.nn.RMSNorm(width)
        self.count = torch.nn.Linear(width, MOST + 1)
        self.place = torch.nn.Linear(width, 3)
        self.sides = torch.nn.Linear(width, 2)

    def forward(self, room: torch.Tensor, words: torch.Tensor, truth: Truth) -> torch.Tensor:
        """The loss, a scalar: nats of the counts, plus the scaled regressions.

        Args:
            room: (B, width) hidden states at the videos' ends.
            words: (..., width) hidden states of category words.
            truth: of the same shapes: (...) counts, (..., 3) places, (B, 2) sides.
        """
        room, words = self.norm(room), self.norm(words)
        single = ~truth.places[..., 0].isnan()
        count = cross_entropy(self.count(words).flatten(0, -2), truth.counts.flatten())
        place = smooth_l1_loss(self.place(words)[single], truth.places[single], beta=0.3, reduction="sum")
        place = place / max(1, truth.places[single].numel())
        return count + place + 0.5 * smooth_l1_loss(self.sides(room), truth.sides, beta=0.3)


def run_probe_stage(vlm: TinyVLM, room_batch: RoomBatch, steps: int, seed: int, progress: Progress) -> float:
    """Train the whole model so that the probes can read its words.

    Args:
        vlm: the model, changed in place.
        room_batch: what it learns from.
        steps: of the optimizer.
        seed: of the order of rooms and of the probes.
        progress: where it is shown.

    Returns:
        the last loss, nats of counts plus the scaled regressions.
    """
    rng = np.random.default_rng([seed, 2])
    truth = truth_of(room_batch.rooms)
    torch.manual_seed(seed)
    probes = Probes(vlm.model.config.text_config.hidden_size)

    def loss_at(_: int) -> torch.Tensor:
        indices = rng.choice(len(room_batch.rooms), ROOMS, replace=False)
        gaps = rng.integers(0, FARTHEST, (ROOMS, len(truth.counts[0])))
        room, words = read_words(vlm, room_batch.frames[indices], gaps)
        return probes(room, words, Truth(truth.counts[indices], truth.places[indices], truth.sides[indices]))

    return train("look up", [*vlm.model.parameters(), *probes.parameters()], loss_at, steps, LEARNING_RATE, progress)


def truth_of(rooms: tuple[Room, ...]) -> Truth:
    """Counts, places and sides of every room."""
    n = len(rooms)
    counts = np.zeros((n, 12), dtype=np.int64)
    places = np.full((n, 12, 3), np.nan, dtype=np.float32)
    for i, room in enumerate(rooms):
        counts[i] = np.bincount(room.categories, minlength=12)
        for category, low, high in zip(room.categories, room.low, room.high, strict=True):
            if counts[i, category] == 1:
                places[i, category] = [*(low + high)[:2] / 2, np.log((high - low).max())]
    sides = torch.tensor(np.log([room.size for room in rooms]), dtype=torch.float32)
    scaled = (torch.from_numpy(places) - CENTER) / SCALE
    return Truth(torch.from_numpy(counts).clamp(max=MOST), scaled, (sides - ROOM_CENTER) / ROOM_SCALE)


def read_words(vlm: TinyVLM, frames: np.ndarray, gaps: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of the video's end, (B, width), and of the twelve words behind it, (B, 12, width).

    Args:
        vlm: the model.
        frames: (B, 4, 112, 112, 3) uint8.
        gaps: (B, 12) positions between the video and each word, which sees the video and itself only.
    """
    start, words = len(vlm.prefix), vlm.category_ids
    ids = torch.tensor([*vlm.prefix, *words]).expand(len(frames), -1)
    before = prefix_positions(start)
    behind = np.broadcast_to(before[0, -1] + 1 + gaps, (3, *gaps.shape))
    positions = np.concatenate([np.broadcast_to(before[:, None], (3, len(frames), start)), behind], axis=2)
    mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
    mask[start:, start:] = torch.eye(len(words), dtype=torch.bool)
    hidden = vlm.model.model.language_model(
        inputs_embeds=vlm.embed(ids, frames),
        position_ids=torch.from_numpy(positions),
        attention_mask=mask.expand(len(frames), 1, -1, -1),
        use_cache=False,
        output_hidden_states=True,
    ).hidden_states[READ]
    return hidden[:, start - 1], hidden[:, start:]
