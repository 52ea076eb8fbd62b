"""VSI-100k's six tasks as the paper describes them (arXiv 2504.00883, section 3): centre distances, word answers.

Templates are verbatim, odd spacing included. Where the paper is silent, our reading is marked *inferred*.
"""

from __future__ import annotations

from math import comb, perm
from random import Random
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.questions.geometry import bearing, centre_distance
from verl_vsi.data_adapters.questions.numeric import Wording
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet, TaskRule, draw_distinct, place_right
from verl_vsi.data_adapters.schema import Box, Question, Scene

RELATIVE_DIRECTION = schema.DIRECTION_EASY
"""Left or right: the benchmark's easy form."""

COUNTS = {
    schema.COUNTING: 6_400,
    schema.ABS_DISTANCE: 75_000,
    schema.REL_DISTANCE: 13_000,
    RELATIVE_DIRECTION: 8_000,
    schema.OBJECT_SIZE: 13_000,
    schema.ROOM_SIZE: 1_500,
}
"""Samples a task in the published set (the paper's table of VSI-100k): 116.9k."""

OTHERS = 4  # objects to choose from in a relative distance

WORDING = Wording(
    "paper",
    count="How many {a}(s)in the room?",
    distance="What is the distance between the {a} and the {b} (in meters)?",
    longest_side=(
        "What is the length of the longest dimension (length,width, or height) of the {a}, measured in centimeters?"
    ),
    room_size="What is the size of this room (in square meters)?",
)


def _abs_distance(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    boxes = scene.singles
    pairs = [(boxes[i], boxes[j]) for i in range(len(boxes)) for j in range(i)]
    return [
        WORDING.distance_question(scene, a.category, b.category, centre_distance(a, b))
        for a, b in rng.sample(pairs, min(limit, len(pairs)))
    ]


def _rel_distance(scene: Scene, limit: int, rng: Random, ambiguity: Ambiguity) -> list[Question]:
    start = rng.randrange(OTHERS)  # the right one's place in the list goes round, so that no place pays

    def attempt(number: int) -> Question | None:
        target, *others = rng.sample(scene.singles, OTHERS + 1)
        others.sort(key=lambda b: centre_distance(target, b))
        nearest, second = (centre_distance(target, b) for b in others[:2])
        if second - nearest <= ambiguity.distance:  # a tie has no answer
            return None
        return _nearest_question(scene, target, place_right(others[0], others[1:], start + number, rng), others[0])

    return draw_distinct(attempt, limit, _key)


def _nearest_question(scene: Scene, target: Box, others: list[Box], nearest: Box) -> Question:
    names = [b.category for b in others]
    text = f"Which of these objects ({', '.join(names)})is the closest to the {target.category}?"
    metres = [round(centre_distance(target, b), 4) for b in others]
    return _word_question(scene, schema.REL_DISTANCE, text, nearest.category, [target.category, *names], metres)


def _direction(scene: Scene, limit: int, rng: Random, ambiguity: Ambiguity) -> list[Question]:
    start = rng.randrange(2)

    def attempt(number: int) -> Question | None:
        positioning, orienting, querying = rng.sample(scene.singles, 3)
        degrees = float(bearing(positioning.point, orienting.point, querying.point))
        if (degrees > 0) != ((start + number) % 2 == 0):  # looking the other way along the same line turns the answer
            positioning, orienting = orienting, positioning
            degrees = float(bearing(positioning.point, orienting.point, querying.point))
        if min(abs(degrees), 180 - abs(degrees)) <= ambiguity.angle:  # straight ahead or behind has no side
            return None
        return _direction_question(scene, (positioning, orienting, querying), degrees)

    return draw_distinct(attempt, limit, _key)


def _direction_question(scene: Scene, objects: tuple[Box, Box, Box], degrees: float) -> Question:
    p, o, q = (b.category for b in objects)
    text = f"If I am standing by the {p} and facing the {o} is the {q} to the left or the right of the {o}?"
    answer = "left" if degrees > 0 else "right"
    return _word_question(scene, RELATIVE_DIRECTION, text, answer, [p, o, q], round(degrees, 2))


def _word_question(scene: Scene, task: str, text: str, answer: str, names: list[str], value: Any) -> Question:
    trace = {"rule": f"paper/{task}", "objects": names, "value": value}
    return Question(task, text, answer, "word", scene.id, trace=trace)


def _key(question: Question) -> tuple[str, ...]:
    """What makes two questions the same: the target and the set of others, or the three objects in their order."""
    first, *rest = question.trace["objects"]
    return (first, *(sorted(rest) if question.task == schema.REL_DISTANCE else rest))


PAPER = RuleSet(
    name="paper",
    data_source="vsi100k",
    tasks={
        **WORDING.task_rules(_abs_distance),
        schema.REL_DISTANCE: TaskRule(
            _rel_distance, lambda s: len(s.singles) * comb(len(s.singles) - 1, OTHERS) if s.singles else 0
        ),
        RELATIVE_DIRECTION: TaskRule(_direction, lambda s: perm(len(s.singles), 3)),
    },
    quotas=Quotas(total=COUNTS),
)
