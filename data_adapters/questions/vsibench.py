"""VSI-Bench's own questions from scene records (arXiv 2412.14171, appendix): the rule set and its numeric tasks.

Closest-point distances, categories that a question names without doubt, margins against ambiguity.
"""

from __future__ import annotations

from itertools import islice
from math import comb, perm
from random import Random
from typing import Any

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.questions import vsibench_choices as choices
from verl_vsi.data_adapters.questions.geometry import distances
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet, TaskRule
from verl_vsi.data_adapters.schema import Box, Question, Scene

LEAST_COUNT = 2
LEAST_DISTANCE = 0.2
"""Metres under which two objects are as good as touching."""

A_SCENE = 6
"""Questions a scene and task; one for the room's size."""


def _number(scene: Scene, task: str, text: str, answer: str, names: list[str], value: Any) -> Question:
    trace = {"rule": f"vsibench/{task}", "objects": names, "value": value}
    return Question(task, text, answer, "number", scene.id, trace=trace)


def _counting(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    names = sorted(c for c, n in scene.counts.items() if n >= LEAST_COUNT)
    return [
        _number(scene, t.COUNTING, f"How many {c}(s) are in this room?", str(scene.counts[c]), [c], scene.counts[c])
        for c in rng.sample(names, min(limit, len(names)))
    ]


def _size(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    return [_one_size(scene, b) for b in rng.sample(scene.singles, min(limit, len(scene.singles)))]


def _one_size(scene: Scene, box: Box) -> Question:
    longest = float(box.extents.max())
    text = (
        f"What is the length of the longest dimension (length, width, or height) of the {box.category}, "
        "measured in centimeters?"
    )
    return _number(scene, t.OBJECT_SIZE, text, str(round(100 * longest)), [box.category], round(longest, 4))


def _room(scene: Scene, limit: int, _: Random, __: Ambiguity) -> list[Question]:
    if scene.room_size is None or not limit:
        return []
    text = (
        "What is the size of this room (in square meters)?\n"
        "If multiple rooms are shown, estimate the size of the combined space."
    )
    return [_number(scene, t.ROOM_SIZE, text, f"{scene.room_size:.1f}", [], round(scene.room_size, 4))]


def _abs_distance(scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
    names = [b.category for b in scene.singles]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    known = ((a, b, distances(scene).between(a, b)) for a, b in rng.sample(pairs, len(pairs)))
    apart = (_one_distance(scene, a, b, metres) for a, b, metres in known if metres >= LEAST_DISTANCE)
    return list(islice(apart, limit))


def _one_distance(scene: Scene, a: str, b: str, metres: float) -> Question:
    text = (
        f"Measuring from the closest point of each object, what is the distance between the {a} and the {b} "
        "(in meters)?"
    )
    return _number(scene, t.ABS_DISTANCE, text, f"{metres:.1f}", [a, b], round(metres, 4))


def _triples(scene: Scene) -> int:
    return perm(len(scene.singles), 3)


def _fours(scene: Scene) -> int:
    return len(scene.singles) * comb(max(0, len(scene.counts) - 1), 4)


VSIBENCH = RuleSet(
    name="vsibench",
    data_source="vsibench",
    tasks={
        t.COUNTING: TaskRule(_counting, lambda s: sum(n >= LEAST_COUNT for n in s.counts.values())),
        t.ABS_DISTANCE: TaskRule(_abs_distance, lambda s: comb(len(s.singles), 2)),
        t.OBJECT_SIZE: TaskRule(_size, lambda s: len(s.singles)),
        t.ROOM_SIZE: TaskRule(_room, lambda s: int(s.room_size is not None)),
        t.REL_DISTANCE: TaskRule(choices.rel_distance, _fours),
        t.DIRECTION_EASY: TaskRule(choices.easy, _triples),
        t.DIRECTION_MEDIUM: TaskRule(choices.medium, _triples),
        t.DIRECTION_HARD: TaskRule(choices.hard, _triples),
        t.APPEARANCE: TaskRule(choices.appearance_order, lambda s: comb(len(s.first_seen), 4)),
    },
    quotas=Quotas(
        per_scene=dict.fromkeys((*t.NUMERIC, t.REL_DISTANCE, *t.DIRECTIONS, t.APPEARANCE), A_SCENE) | {t.ROOM_SIZE: 1}
    ),
)
