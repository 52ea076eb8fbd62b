"""VSI-Bench's relative directions in three levels of difficulty (arXiv 2412.14171, appendix).

One stands by the positioning object and faces the orienting object; where is the querying object?
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.questions.geometry import bearing, distances
from verl_vsi.data_adapters.questions.rules import Ambiguity, Maker, draw_distinct, letter_options, place_right
from verl_vsi.data_adapters.schema import Box, Question, Scene

NEAREST, FARTHEST = 0.30, 5.0
"""Metres between any two of the three objects, by closest points."""

STRAY_CORNERS = 2
"""So many of the querying box's 8 corners may lie in another sector."""

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
        ending: of the question.
        upper_only: the margin counts only below a sector's upper edge.
    """

    task: str
    ends: tuple[float, ...]
    sectors: tuple[str, ...]
    answers: tuple[str, ...]
    ending: str
    upper_only: bool = False

    def sector(self, degrees: float) -> str:
        """The sector that an angle of any number of degrees falls in; 360.0 is straight ahead, as 0.0 is."""
        return self.sectors[self._place(degrees)]

    def _place(self, degrees: float) -> int:
        """-1e-17 % 360 is 360.0 in floating point: the second % makes it 0.0."""
        return int(np.searchsorted(self.ends, degrees % 360 % 360, side="right"))

    def clear(self, degrees: float) -> bool:
        """Whether an angle of any number of degrees is far enough from the edges of its sector."""
        place, degrees = self._place(degrees), degrees % 360 % 360
        start = self.ends[place - 1] if place else 0.0
        return degrees < self.ends[place] - MARGIN and (self.upper_only or degrees >= start + MARGIN)


_THIRDS = {"ends": (135.0, 225.0, 360.0), "sectors": ("left", "back", "right")}
EASY = Level(schema.DIRECTION_EASY, **_THIRDS, answers=("left", "right"), ending="the left or the right of the {o}?")
MEDIUM = Level(
    schema.DIRECTION_MEDIUM,
    **_THIRDS,
    answers=("left", "right", "back"),
    ending="my left, right, or back?\n"
    "An object is to my back if I would have to turn at least 135 degrees in order to face it.",
)
_QUADRANTS = ("front-left", "back-left", "back-right", "front-right")
HARD = Level(
    schema.DIRECTION_HARD,
    (90.0, 180.0, 270.0, 360.0),
    _QUADRANTS,
    _QUADRANTS,
    ending="my front-left, front-right, back-left, or back-right?\n"
    "The directions refer to the quadrants of a Cartesian plane "
    "(if I am standing at the origin and facing along the positive y-axis).",
    upper_only=True,
)


LEVELS = (EASY, MEDIUM, HARD)


def directions(level: Level) -> Maker:
    """The maker of one level's questions."""

    def make(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
        start = rng.randrange(len(level.answers))

        def attempt(number: int) -> Question | None:
            positioning, orienting, querying = objects = tuple(rng.sample(scene.singles, 3))
            degrees = float(bearing(positioning.centroid, orienting.centroid, querying.centroid)) % 360
            if not _is_unambiguous(level, scene, objects, degrees):
                return None
            return _question(level, scene, objects, degrees, start + number, rng)

        return draw_distinct(attempt, limit, lambda q: tuple(q.trace["objects"])) if len(scene.singles) >= 3 else []

    return make


def _is_unambiguous(level: Level, scene: Scene, objects: tuple[Box, ...], degrees: float) -> bool:
    """Whether the answer is beyond doubt."""
    positioning, orienting, querying = objects
    sector = level.sector(degrees)
    if sector not in level.answers or not level.clear(degrees):
        return False
    corners = bearing(positioning.centroid, orienting.centroid, querying.corners) % 360
    if sum(level.sector(c) != sector for c in corners.tolist()) > STRAY_CORNERS:
        return False
    pairs = ((positioning, orienting), (orienting, querying), (querying, positioning))
    metres = (distances(scene).between(a.category, b.category) for a, b in pairs)
    return all(NEAREST <= m <= FARTHEST for m in metres)


def _question(
    level: Level, scene: Scene, objects: tuple[Box, ...], degrees: float, place: int, rng: Random
) -> Question:
    p, o, q = (b.category for b in objects)
    right = level.sector(degrees)
    options = place_right(right, [a for a in level.answers if a != right], place, rng)
    text = f"If I am standing by the {p} and facing the {o}, is the {q} to {level.ending.format(o=o)}"
    return choice(scene, level.task, text, options, right, {"objects": [p, o, q], "degrees": round(degrees, 2)})


def choice(scene: Scene, task: str, text: str, options: list[str], right: str, trace: dict[str, object]) -> Question:
    """A lettered question of VSI-Bench; the answer is the letter of the right option.

    Args:
        scene: what it is about.
        task: VSI-Bench's name.
        text: the question.
        options: without letters, in their order.
        right: one of them.
        trace: what the answer follows from.
    """
    lettered = letter_options(options)
    trace = {"rule": f"vsibench/{task}", "right": right, **trace}
    return Question(task, text, lettered[options.index(right)][0], "choice", scene.id, lettered, trace)
