"""VSI-Bench's relative directions, easy, medium and hard (arXiv 2412.14171, appendix)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

import numpy as np

from verl_vsi.data_adapters import tasks as t
from verl_vsi.data_adapters.questions.draws import different, placed
from verl_vsi.data_adapters.questions.geometry import bearing, distances
from verl_vsi.data_adapters.questions.rules import Ambiguity
from verl_vsi.data_adapters.questions.vsibench_choices import choice
from verl_vsi.data_adapters.scenes import Box, Scene
from verl_vsi.data_adapters.tasks import Question

NEAREST, FARTHEST = 0.30, 5.0
"""Metres between any two of the three objects, by closest points."""

STRAY_CORNERS = 2
"""So many of the asked box's 8 corners may lie in another sector."""

MARGIN = 10.0
"""Degrees from a sector's edge that are too close to call."""


@dataclass(frozen=True)
class Level:
    """One level of difficulty.

    Args:
        task: its name.
        ends: upper edges of the sectors, degrees counter-clockwise from the line of sight; the last is 360.
        sectors: their names, in that order.
        answers: those that may be the answer.
        asked: the question's end.
        upper_only: the margin counts only below a sector's upper edge.
    """

    task: str
    ends: tuple[float, ...]
    sectors: tuple[str, ...]
    answers: tuple[str, ...]
    asked: str
    upper_only: bool = False

    def sector(self, degrees: float) -> str:
        """The sector that an angle in [0, 360) falls in."""
        return self.sectors[int(np.searchsorted(self.ends, degrees, side="right"))]

    def clear(self, degrees: float) -> bool:
        """Whether an angle in [0, 360) is far enough from the edges of its sector."""
        place = int(np.searchsorted(self.ends, degrees, side="right"))
        start = self.ends[place - 1] if place else 0.0
        return degrees < self.ends[place] - MARGIN and (self.upper_only or degrees >= start + MARGIN)


_THIRDS = {"ends": (135.0, 225.0, 360.0), "sectors": ("left", "back", "right")}
EASY = Level(t.DIRECTION_EASY, **_THIRDS, answers=("left", "right"), asked="the left or the right of the {o}?")
MEDIUM = Level(
    t.DIRECTION_MEDIUM,
    **_THIRDS,
    answers=("left", "right", "back"),
    asked="my left, right, or back?\n"
    "An object is to my back if I would have to turn at least 135 degrees in order to face it.",
)
_QUADRANTS = ("front-left", "back-left", "back-right", "front-right")
HARD = Level(
    t.DIRECTION_HARD,
    (90.0, 180.0, 270.0, 360.0),
    _QUADRANTS,
    _QUADRANTS,
    asked="my front-left, front-right, back-left, or back-right?\n"
    "The directions refer to the quadrants of a Cartesian plane "
    "(if I am standing at the origin and facing along the positive y-axis).",
    upper_only=True,
)


def direction(level: Level, scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    """Where a third object is for one who stands by the first and faces the second."""
    singles = scene.singles
    first = rng.randrange(len(level.answers))

    def attempt(done: int) -> Question | None:
        standing, facing, asked = rng.sample(singles, 3)
        degrees = float(bearing(standing.centroid, facing.centroid, asked.centroid)) % 360
        if not _fair(level, scene, (standing, facing, asked), degrees):
            return None
        return _one(level, scene, (standing, facing, asked), degrees, first + done, rng)

    return different(attempt, limit, lambda q: tuple(q.trace["objects"])) if len(singles) >= 3 else []


def _fair(level: Level, scene: Scene, three: tuple[Box, Box, Box], degrees: float) -> bool:
    """Whether the answer is beyond doubt."""
    standing, facing, asked = three
    sector = level.sector(degrees)
    if sector not in level.answers or not level.clear(degrees):
        return False
    corners = bearing(standing.centroid, facing.centroid, asked.corners) % 360
    if sum(level.sector(c) != sector for c in corners.tolist()) > STRAY_CORNERS:
        return False
    known = distances(scene)
    pairs = ((standing, facing), (facing, asked), (asked, standing))
    return all(NEAREST <= known.between(a.category, b.category) <= FARTHEST for a, b in pairs)


def _one(level: Level, scene: Scene, three: tuple[Box, Box, Box], degrees: float, place: int, rng: Random) -> Question:
    p, o, q = (b.category for b in three)
    right = level.sector(degrees)
    options = placed(right, [a for a in level.answers if a != right], place, rng)
    text = f"If I am standing by the {p} and facing the {o}, is the {q} to {level.asked.format(o=o)}"
    return choice(scene, level.task, text, options, right, {"objects": [p, o, q], "degrees": round(degrees, 2)})


easy, medium, hard = partial(direction, EASY), partial(direction, MEDIUM), partial(direction, HARD)
