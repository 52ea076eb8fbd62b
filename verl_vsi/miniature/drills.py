"""Short drills that bring to the tongue what the model has looked up: how many, where, how long, how far, which.

None of them is a question that training or evaluation asks; they only join seeing to saying.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np

from verl_vsi.data_adapters.rooms import CATEGORIES, Room

ABSENT = 2
"""Categories asked for that are not there."""
PAIRS = 4
"""Distances asked for in a room."""
NEAREST = 3
"""Choices of the nearest of two to four objects asked for in a room."""
HERE = 3
"""Choices of the one object of four that is there at all."""


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
        here, *others = rng.sample(singles, rng.randint(3, min(5, len(singles))))
        nearest = min(others, key=lambda box: float(np.linalg.norm(box.point - here.point)))
        yield f"Nearest to {here.category}: {', '.join(b.category for b in others)}?", nearest.category
    for _ in range(HERE if len(absent) > 2 else 0):
        there = rng.choice(sorted(scene.counts))
        listed = [there, *rng.sample(absent, 3)]
        rng.shuffle(listed)
        yield f"Which is here: {', '.join(listed)}?", there
