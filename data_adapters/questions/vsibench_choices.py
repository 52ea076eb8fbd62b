"""VSI-Bench's lettered questions on nearness and on the order of appearance (arXiv 2412.14171, appendix)."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random

from verl_vsi.data_adapters import tasks as t
from verl_vsi.data_adapters.questions.draws import different, lettered, placed
from verl_vsi.data_adapters.questions.geometry import distances
from verl_vsi.data_adapters.questions.rules import Ambiguity
from verl_vsi.data_adapters.scenes import Scene
from verl_vsi.data_adapters.tasks import Question

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
