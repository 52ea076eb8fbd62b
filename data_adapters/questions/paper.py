"""VSI-100k's six tasks as the paper describes them (arXiv 2504.00883, section 3): centre distances, word answers.

Templates are verbatim, odd spacing included. Where the paper is silent, our reading is marked *inferred*.
"""

from __future__ import annotations

from math import comb, perm
from random import Random
from typing import Any

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.questions.geometry import bearing, centre_distance
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet, TaskRule, different, placed
from verl_vsi.data_adapters.schema import Box, Kind, Question, Scene

RELATIVE_DIRECTION = t.DIRECTION_EASY
"""Left or right: the benchmark's easy form."""

COUNTS = {
    t.COUNTING: 6_400,
    t.ABS_DISTANCE: 75_000,
    t.REL_DISTANCE: 13_000,
    RELATIVE_DIRECTION: 8_000,
    t.OBJECT_SIZE: 13_000,
    t.ROOM_SIZE: 1_500,
}
"""Samples a task in the published set (the paper's table of VSI-100k): 116.9k."""

LEAST_COUNT = 2
"""*Inferred*: 6.4k counts of 1.5k scenes are as many as categories that occur more than once; the rest is all "1"."""

OTHERS = 4  # objects to choose from in a relative distance


def _question(scene: Scene, task: str, text: str, answer: str, kind: Kind, names: list[str], value: Any) -> Question:
    trace = {"rule": f"paper/{task}", "objects": names, "value": value}
    return Question(task, text, answer, kind, scene.id, trace=trace)


def _counting(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    names = sorted(c for c, n in scene.counts.items() if n >= LEAST_COUNT)
    return [
        _question(
            scene, t.COUNTING, f"How many {c}(s)in the room?", str(scene.counts[c]), "number", [c], scene.counts[c]
        )
        for c in rng.sample(names, min(limit, len(names)))
    ]


def _abs_distance(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    boxes = scene.singles
    pairs = [(i, j) for i in range(len(boxes)) for j in range(i)]
    return [_one_distance(scene, boxes[i], boxes[j]) for i, j in rng.sample(pairs, min(limit, len(pairs)))]


def _one_distance(scene: Scene, a: Box, b: Box) -> Question:
    metres = centre_distance(a, b)
    text = f"What is the distance between the {a.category} and the {b.category} (in meters)?"
    names = [a.category, b.category]
    return _question(scene, t.ABS_DISTANCE, text, f"{metres:.1f}", "number", names, round(metres, 4))


def _size(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    boxes = scene.singles
    return [_one_size(scene, box) for box in rng.sample(boxes, min(limit, len(boxes)))]


def _one_size(scene: Scene, box: Box) -> Question:
    longest = float(box.extents.max())
    text = (
        "What is the length of the longest dimension (length,width, or height) of the "
        f"{box.category}, measured in centimeters?"
    )
    return _question(scene, t.OBJECT_SIZE, text, str(round(100 * longest)), "number", [box.category], round(longest, 4))


def _room(scene: Scene, limit: int, _: Random, __: Ambiguity) -> list[Question]:
    if scene.room_size is None or not limit:
        return []
    text = "What is the size of this room (in square meters)?"
    return [_question(scene, t.ROOM_SIZE, text, f"{scene.room_size:.1f}", "number", [], round(scene.room_size, 4))]


def _rel_distance(scene: Scene, limit: int, rng: Random, ambiguity: Ambiguity) -> list[Question]:
    place = rng.randrange(OTHERS)  # the right one's place in the list goes round, so that no place pays

    def attempt(done: int) -> Question | None:
        target, *others = rng.sample(scene.singles, OTHERS + 1)
        others.sort(key=lambda b: centre_distance(target, b))
        gaps = [centre_distance(target, b) for b in others]
        if gaps[1] - gaps[0] <= ambiguity.distance:  # a tie has no answer
            return None
        nearest, *rest = others
        return _one_nearest(scene, target, placed(nearest, rest, place + done, rng), nearest)

    return different(attempt, limit, _key)


def _one_nearest(scene: Scene, target: Box, others: list[Box], nearest: Box) -> Question:
    names = [b.category for b in others]
    text = f"Which of these objects ({', '.join(names)})is the closest to the {target.category}?"
    metres = [round(centre_distance(target, b), 4) for b in others]
    return _question(scene, t.REL_DISTANCE, text, nearest.category, "word", [target.category, *names], metres)


def _direction(scene: Scene, limit: int, rng: Random, ambiguity: Ambiguity) -> list[Question]:
    first = rng.randrange(2)

    def attempt(done: int) -> Question | None:
        standing, facing, asked = rng.sample(scene.singles, 3)
        degrees = float(bearing(standing.point, facing.point, asked.point))
        if (degrees > 0) != ((first + done) % 2 == 0):  # looking the other way along the same line turns the answer
            standing, facing = facing, standing
            degrees = float(bearing(standing.point, facing.point, asked.point))
        if min(abs(degrees), 180 - abs(degrees)) <= ambiguity.angle:  # straight ahead or behind has no side
            return None
        return _one_direction(scene, standing, facing, asked, degrees)

    return different(attempt, limit, _key)


def _one_direction(scene: Scene, standing: Box, facing: Box, asked: Box, degrees: float) -> Question:
    p, o, q = (b.category for b in (standing, facing, asked))
    text = f"If I am standing by the {p} and facing the {o} is the {q} to the left or the right of the {o}?"
    answer = "left" if degrees > 0 else "right"
    return _question(scene, RELATIVE_DIRECTION, text, answer, "word", [p, o, q], round(degrees, 2))


def _key(question: Question) -> tuple[str, ...]:
    """What makes two questions the same: the target and the set of others, or the three objects in their order."""
    first, *rest = question.trace["objects"]
    return (first, *(sorted(rest) if question.task == t.REL_DISTANCE else rest))


def _multiple(scene: Scene) -> int:
    return sum(n >= LEAST_COUNT for n in scene.counts.values())


PAPER = RuleSet(
    name="paper",
    data_source="vsi100k",
    tasks={
        t.COUNTING: TaskRule(_counting, _multiple),
        t.ABS_DISTANCE: TaskRule(_abs_distance, lambda s: comb(len(s.singles), 2)),
        t.OBJECT_SIZE: TaskRule(_size, lambda s: len(s.singles)),
        t.ROOM_SIZE: TaskRule(_room, lambda s: int(s.room_size is not None)),
        t.REL_DISTANCE: TaskRule(
            _rel_distance, lambda s: len(s.singles) * comb(len(s.singles) - 1, OTHERS) if s.singles else 0
        ),
        RELATIVE_DIRECTION: TaskRule(_direction, lambda s: perm(len(s.singles), 3)),
    },
    quotas=Quotas(total=COUNTS),
)
