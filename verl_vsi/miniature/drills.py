"""Stage 3: short drills that bring to the tongue what the model has looked up: how many, where, how long, how far.

None of them is a question that training or evaluation asks; they only join seeing to saying.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import torch
from rich.progress import Progress

from verl_vsi.data_adapters.rooms import CATEGORIES, Room
from verl_vsi.miniature.album import Album
from verl_vsi.miniature.pupil import Pupil, packed_loss
from verl_vsi.miniature.training import train

ROOMS = 4
"""Videos a step, each with all its drills."""
LEARNING_RATE = 1.5e-3
ABSENT = 2
"""Categories asked for that are not there."""
PAIRS = 4
"""Distances asked for in a room."""
NEAREST = 3
"""Choices of the nearest of two to four objects asked for in a room."""


def drill(pupil: Pupil, album: Album, steps: int, seed: int, progress: Progress) -> float:
    """Teach the whole model; returns the last loss, nats a token of the answers."""
    rng = Random(f"{seed}/drill")

    def loss_at(_: int) -> torch.Tensor:
        rooms = rng.sample(range(len(album.rooms)), ROOMS)
        rows = [[pupil.pair(text, said) for text, said in drills_of(album.rooms[room], rng)] for room in rooms]
        return packed_loss(pupil, album.frames[rooms], rows)

    return train("drill", pupil.model.parameters(), loss_at, steps, LEARNING_RATE, progress)


def drills_of(room: Room, rng: Random) -> Iterator[tuple[str, str]]:
    """Texts and answers about one room; places and lengths of categories that occur once, metres and centimetres."""
    scene = room.scene
    yield "Room sides?", f"{room.size[0]:.1f} {room.size[1]:.1f}"
    absent = [name for name in CATEGORIES if name not in scene.counts]
    for name in [*scene.counts, *rng.sample(absent, min(ABSENT, len(absent)))]:
        yield f"Find {name}.", str(scene.counts.get(name, 0))
    singles = scene.singles
    for box in singles:
        yield f"Where is {box.category}?", f"{box.centroid[0]:.1f} {box.centroid[1]:.1f}"
        yield f"How long is {box.category}?", f"{100 * box.extents.max():.0f}"
    pairs = [(a, b) for a in singles for b in singles if a is not b]
    for a, b in rng.sample(pairs, min(PAIRS, len(pairs))):
        yield f"From {a.category} to {b.category}?", f"{np.linalg.norm(a.point - b.point):.1f}"
    for _ in range(NEAREST if len(singles) > 2 else 0):
        here, *there = rng.sample(singles, rng.randint(3, min(5, len(singles))))
        nearest = min(there, key=lambda box: float(np.linalg.norm(box.point - here.point)))
        yield f"Nearest to {here.category}: {', '.join(b.category for b in there)}?", nearest.category
