"""Where things stand in a rendered room: sizes, places and colours drawn from one random generator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.schema import Array, Box, Scene
from verl_vsi.data_adapters.visibility import Visibility


class Furniture(NamedTuple):
    """A category's usual size (width, depth, height), metres, and its colour (r, g, b)."""

    size: tuple[float, float, float]
    color: tuple[int, int, int]


CATEGORIES: dict[str, Furniture] = {
    "chair": Furniture((0.7, 0.7, 1.0), (220, 40, 40)),
    "table": Furniture((1.4, 0.9, 0.75), (60, 110, 230)),
    "sofa": Furniture((2.0, 0.9, 0.8), (40, 170, 60)),
    "bed": Furniture((2.0, 1.5, 0.6), (240, 150, 200)),
    "lamp": Furniture((0.5, 0.5, 1.6), (250, 225, 40)),
    "tv": Furniture((1.2, 0.4, 0.8), (20, 20, 25)),
    "shelf": Furniture((1.0, 0.5, 1.7), (140, 80, 30)),
    "plant": Furniture((0.6, 0.6, 1.0), (130, 230, 50)),
    "fridge": Furniture((0.8, 0.8, 1.7), (70, 220, 230)),
    "desk": Furniture((1.4, 0.7, 0.9), (250, 130, 20)),
    "bin": Furniture((0.6, 0.6, 0.7), (130, 50, 200)),
    "piano": Furniture((1.5, 0.8, 1.2), (255, 255, 255)),
}
NAMES = tuple(CATEGORIES)
CEILING = 2.6
"""Height of every room, metres."""

SIDES = (3.0, 8.5)  # shortest and longest wall, metres, log-uniform
SCALES = (0.55, 1.8)  # an object against its category's usual size, log-uniform
TALLEST = 2.1
AISLE = 0.9  # kept free along the wall where the camera walks
MARGIN = 0.1  # to the other walls
GAP = 0.2  # between objects
TRIES = 40


@dataclass(frozen=True, eq=False)
class Room:
    """One rendered room: x runs along the camera's walk, y into the room, z up; the corner is the origin.

    Args:
        name: ``room_<seed>_<index>``.
        size: width and depth, metres.
        categories: (n,) each object's place in `NAMES`.
        low: (n, 3) nearest corner of each object, metres.
        high: (n, 3) farthest corner, metres.
        first_seen: seconds at which a category first shows; filled by `draw`, empty before.
        visible: which frames show which objects; likewise.
    """

    name: str
    size: tuple[float, float]
    categories: NDArray[np.int64]
    low: Array
    high: Array
    first_seen: Mapping[str, float] = field(default_factory=dict)
    visible: Visibility | None = None

    @property
    def scene(self) -> Scene:
        """The same record that real annotations yield."""
        names = [NAMES[c] for c in self.categories]
        boxes = tuple(
            Box(name, (low + high) / 2, high - low, np.eye(3))
            for name, low, high in zip(names, self.low, self.high, strict=True)
        )
        area = self.size[0] * self.size[1]
        video, counts = f"rooms/{self.name}.mp4", dict(Counter(names))
        return Scene(self.name, "rooms", video, area, boxes, counts, dict(self.first_seen), self.visible)


def layout(rng: np.random.Generator, name: str) -> Room:
    """A room with at least 5 objects of at least 4 categories; whether all can be seen is for `draw` to say.

    Args:
        rng: source of every random choice.
        name: what the room is called.
    """
    while True:
        size = _log_uniform(rng, SIDES, 2)
        placed = _furnish(rng, size)
        if len(placed) >= 5 and len({c for c, _, _ in placed}) >= 4:
            categories, low, high = (np.array(column) for column in zip(*placed, strict=True))
            return Room(name, (float(size[0]), float(size[1])), categories, low, high)


def _furnish(rng: np.random.Generator, size: Array) -> list[tuple[int, Array, Array]]:
    """4 to 7 categories, most of them once and the others 2 to 6 times, as far as they fit."""
    placed: list[tuple[int, Array, Array]] = []
    for category in rng.choice(len(NAMES), rng.integers(4, 8), replace=False):
        for _ in range(1 if rng.random() < 0.65 else int(rng.integers(2, 7))):
            for _ in range(TRIES):
                box = _random_box(rng, int(category), size)
                if box is not None and _free(*box, placed):
                    placed.append((int(category), *box))
                    break
    return placed


def _random_box(rng: np.random.Generator, category: int, size: Array) -> tuple[Array, Array] | None:
    """Low and high corner of one object at a random place; None where it is too big for the room."""
    extents = np.array(CATEGORIES[NAMES[category]].size) * _log_uniform(rng, SCALES) * rng.uniform(0.9, 1.1, 3)
    extents[2] = min(extents[2], TALLEST)
    if rng.random() < 0.5:
        extents[:2] = extents[1::-1]
    nearest, farthest = np.array([MARGIN, AISLE]), size - MARGIN - extents[:2]
    if (extents[:2] > size - 1.2).any() or (farthest < nearest).any():
        return None
    low = np.append(rng.uniform(nearest, farthest), 0.0)
    return low, low + extents


def _free(low: Array, high: Array, placed: list[tuple[int, Array, Array]]) -> bool:
    """Whether a box keeps `GAP` to all others, seen from above."""
    return all(((high + GAP < other_low) | (other_high + GAP < low))[:2].any() for _, other_low, other_high in placed)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float], n: int | None = None) -> Array:
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), n))
