"""VSI-Bench's own questions from scene records (arXiv 2412.14171, appendix).

Closest-point distances, categories that a question names without doubt, margins against ambiguity, lettered options.
"""

from __future__ import annotations

from itertools import islice, pairwise, permutations
from math import comb, perm
from random import Random

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.questions.geometry import distances
from verl_vsi.data_adapters.questions.numeric import Wording
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet, TaskRule, draw_distinct, place_right
from verl_vsi.data_adapters.questions.vsibench_directions import LEVELS, choice, directions
from verl_vsi.data_adapters.schema import Question, Scene

LEAST_DISTANCE = 0.2
"""Metres under which two objects are as good as touching."""

OPTIONS = 4
LEAST_NEAREST = 0.15
"""Metres: the nearest object must not touch the target."""

LEAST_GAP, LARGE_ROOM_GAP, LARGE_ROOM = 0.15, 0.30, 40.0
"""Metres by which any two options must differ, the same in rooms over so many m2."""

LEAST_SECONDS = 1.0
"""Seconds by which any two first appearances must differ."""

A_SCENE = 6
"""Questions a scene and task; one for the room's size."""

WORDING = Wording(
    "vsibench",
    count="How many {a}(s) are in this room?",
    distance=(
        "Measuring from the closest point of each object, what is the distance between the {a} and the {b} (in meters)?"
    ),
    longest_side=(
        "What is the length of the longest dimension (length, width, or height) of the {a}, measured in centimeters?"
    ),
    room_size=(
        "What is the size of this room (in square meters)?\n"
        "If multiple rooms are shown, estimate the size of the combined space."
    ),
)


def _abs_distance(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    names = [b.category for b in scene.singles]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    measured = ((a, b, distances(scene).between(a, b)) for a, b in rng.sample(pairs, len(pairs)))
    apart = (WORDING.distance_question(scene, a, b, metres) for a, b, metres in measured if metres >= LEAST_DISTANCE)
    return list(islice(apart, limit))


def _rel_distance(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    """Which of four categories is nearest to a single object, by closest points."""
    singles, boxed = sorted({b.category for b in scene.singles}), sorted({b.category for b in scene.boxes})
    start = rng.randrange(OPTIONS)

    def attempt(number: int) -> Question | None:
        target = rng.choice(singles)
        others = rng.sample([c for c in boxed if c != target], OPTIONS)
        metres = {c: distances(scene).between(target, c) for c in others}
        ascending = sorted(metres.values())
        gap = min(b - a for a, b in pairwise(ascending))
        if ascending[0] < LEAST_NEAREST or gap <= _least_gap(scene):
            return None
        return _nearest_question(scene, target, metres, start + number, rng)

    enough = singles and len(boxed) > OPTIONS
    return draw_distinct(attempt, limit, lambda q: (q.trace["target"], *sorted(q.trace["metres"]))) if enough else []


def _least_gap(scene: Scene) -> float:
    """Metres by which two options must differ in this room."""
    return LARGE_ROOM_GAP if (scene.room_size or 0.0) > LARGE_ROOM else LEAST_GAP


def _nearest_question(scene: Scene, target: str, metres: dict[str, float], place: int, rng: Random) -> Question:
    nearest, *rest = sorted(metres, key=lambda c: metres[c])
    options = place_right(nearest, rest, place, rng)
    text = (
        f"Measuring from the closest point of each object, which of these objects ({', '.join(options)}) "
        f"is the closest to the {target}?"
    )
    trace = {"target": target, "metres": {c: round(metres[c], 4) for c in options}}
    return choice(scene, schema.REL_DISTANCE, text, options, nearest, trace)


def _appearance_order(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    """In which order four categories first show in the video; only where the times are known."""
    names = sorted(scene.first_seen)
    start = rng.randrange(OPTIONS)

    def attempt(number: int) -> Question | None:
        four = sorted(rng.sample(names, OPTIONS), key=lambda c: scene.first_seen[c])
        seconds = [scene.first_seen[c] for c in four]
        if any(b - a <= LEAST_SECONDS for a, b in pairwise(seconds)):
            return None
        return _order_question(scene, four, seconds, start + number, rng)

    return draw_distinct(attempt, limit, lambda q: tuple(sorted(q.trace["order"]))) if len(names) >= OPTIONS else []


def _order_question(scene: Scene, four: list[str], seconds: list[float], place: int, rng: Random) -> Question:
    right, *wrong = (", ".join(order) for order in permutations(four))
    options = place_right(right, rng.sample(wrong, OPTIONS - 1), place, rng)
    categories = ", ".join(rng.sample(four, OPTIONS))
    text = f"What will be the first-time appearance order of the following categories in the video: {categories}?"
    return choice(scene, schema.APPEARANCE, text, options, right, {"order": four, "seconds": seconds})


VSIBENCH = RuleSet(
    name="vsibench",
    data_source="vsibench",
    tasks={
        **WORDING.task_rules(_abs_distance),
        schema.REL_DISTANCE: TaskRule(
            _rel_distance, lambda s: len(s.singles) * comb(max(0, len(s.counts) - 1), OPTIONS)
        ),
        **{level.task: TaskRule(directions(level), lambda s: perm(len(s.singles), 3)) for level in LEVELS},
        schema.APPEARANCE: TaskRule(_appearance_order, lambda s: comb(len(s.first_seen), OPTIONS)),
    },
    quotas=Quotas(
        per_scene=dict.fromkeys((*schema.NUMERIC, schema.REL_DISTANCE, *schema.DIRECTIONS, schema.APPEARANCE), A_SCENE)
        | {schema.ROOM_SIZE: 1}
    ),
)
