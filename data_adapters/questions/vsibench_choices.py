"""VSI-Bench's lettered questions: nearness, order of appearance, relative directions (arXiv 2412.14171, appendix)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise, permutations
from random import Random

import numpy as np

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.questions.geometry import bearing, distances
from verl_vsi.data_adapters.questions.rules import Ambiguity, different, lettered, placed
from verl_vsi.data_adapters.schema import Box, Question, Scene

OPTIONS = 4
LEAST_NEAREST = 0.15
"""Metres: the nearest object must not touch the target."""

LEAST_GAP, LARGE_ROOM_GAP, LARGE_ROOM = 0.15, 0.30, 40.0
"""Metres by which any two options must differ, the same in rooms over so many m2."""

LEAST_SECONDS = 1.0
"""Seconds by which any two first appearances must differ."""


def choice(scene: Scene, task: str, text: str, options: list[str], right: str, trace: dict[str, object]) -> Question:
    """A lettered question; the answer is the letter of `right`."""
    letter = lettered(options)[options.index(right)][0]
    return Question(
        task, text, letter, "choice", scene.id, lettered(options), {"rule": f"vsibench/{task}", "right": right, **trace}
    )


def least_gap(scene: Scene) -> float:
    """Metres by which two options must differ in this room."""
    return LARGE_ROOM_GAP if (scene.room_size or 0.0) > LARGE_ROOM else LEAST_GAP


def rel_distance(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    """Which of four categories is nearest to a single object, by closest points."""
    singles, boxed = sorted({b.category for b in scene.singles}), sorted({b.category for b in scene.boxes})
    first = rng.randrange(OPTIONS)

    def attempt(done: int) -> Question | None:
        target = rng.choice(singles)
        others = rng.sample([c for c in boxed if c != target], OPTIONS)
        metres = {c: distances(scene).between(target, c) for c in others}
        near = sorted(metres.values())
        gap = min(b - a for a, b in pairwise(near))
        if near[0] < LEAST_NEAREST or gap <= least_gap(scene):
            return None
        return _nearest(scene, target, metres, first + done, rng)

    enough = singles and len(boxed) > OPTIONS
    return different(attempt, limit, lambda q: (q.trace["target"], *sorted(q.trace["metres"]))) if enough else []


def _nearest(scene: Scene, target: str, metres: dict[str, float], place: int, rng: Random) -> Question:
    nearest, *rest = sorted(metres, key=lambda c: metres[c])
    options = placed(nearest, rest, place, rng)
    text = (
        f"Measuring from the closest point of each object, which of these objects ({', '.join(options)}) "
        f"is the closest to the {target}?"
    )
    trace = {"target": target, "metres": {c: round(metres[c], 4) for c in options}}
    return choice(scene, t.REL_DISTANCE, text, options, nearest, trace)


def appearance_order(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    """In which order four categories first show in the video; only where the times are known."""
    names = sorted(scene.first_seen)
    first = rng.randrange(OPTIONS)

    def attempt(done: int) -> Question | None:
        four = sorted(rng.sample(names, OPTIONS), key=lambda c: scene.first_seen[c])
        seconds = [scene.first_seen[c] for c in four]
        if any(b - a <= LEAST_SECONDS for a, b in pairwise(seconds)):
            return None
        return _order(scene, four, seconds, first + done, rng)

    return different(attempt, limit, lambda q: tuple(sorted(q.trace["order"]))) if len(names) >= OPTIONS else []


def _order(scene: Scene, four: list[str], seconds: list[float], place: int, rng: Random) -> Question:
    right, *wrong = (", ".join(order) for order in permutations(four))
    options = placed(right, rng.sample(wrong, OPTIONS - 1), place, rng)
    listed = ", ".join(rng.sample(four, OPTIONS))
    text = f"What will be the first-time appearance order of the following categories in the video: {listed}?"
    return choice(scene, t.APPEARANCE, text, options, right, {"order": four, "seconds": seconds})


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
