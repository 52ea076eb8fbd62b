"""Numeric questions that both rule sets ask, each in its own words: counts, longest sides, room sizes, distances."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from random import Random
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.questions.rules import Ambiguity, Maker, TaskRule
from verl_vsi.data_adapters.schema import Box, Question, Scene

LEAST_COUNT = 2
"""Objects of a category that is counted. VSI-Bench's; *inferred* for VSI-100k, whose 6.4k counts of 1.5k scenes are as
many as categories that occur more than once: the rest is all "1"."""


@dataclass(frozen=True)
class Wording:
    """A rule set's words for its numeric questions, with names of categories to fill in.

    Args:
        rules: the rule set's name, for the trace.
        count: how many ``{a}`` there are.
        distance: how far ``{a}`` is from ``{b}``, in metres.
        longest_side: of ``{a}``, in centimetres.
        room_size: in square metres.
    """

    rules: str
    count: str
    distance: str
    longest_side: str
    room_size: str

    def task_rules(self, distances: Maker) -> dict[str, TaskRule]:
        """The four numeric tasks; how a distance is measured and drawn is the rule set's own."""
        return {
            schema.COUNTING: TaskRule(self._counts, lambda s: sum(n >= LEAST_COUNT for n in s.counts.values())),
            schema.ABS_DISTANCE: TaskRule(distances, lambda s: comb(len(s.singles), 2)),
            schema.OBJECT_SIZE: TaskRule(self._longest_sides, lambda s: len(s.singles)),
            schema.ROOM_SIZE: TaskRule(self._room_size, lambda s: int(s.room_size is not None)),
        }

    def distance_question(self, scene: Scene, a: str, b: str, metres: float) -> Question:
        """How far two objects are from each other.

        Args:
            scene: where they are.
            a: category of one.
            b: category of the other.
            metres: the truth.
        """
        text = self.distance.format(a=a, b=b)
        return self._question(scene, schema.ABS_DISTANCE, text, f"{metres:.1f}", [a, b], round(metres, 4))

    def _counts(self, scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
        names = sorted(c for c, n in scene.counts.items() if n >= LEAST_COUNT)
        return [self._count(scene, c, scene.counts[c]) for c in rng.sample(names, min(limit, len(names)))]

    def _count(self, scene: Scene, category: str, count: int) -> Question:
        text = self.count.format(a=category)
        return self._question(scene, schema.COUNTING, text, str(count), [category], count)

    def _longest_sides(self, scene: Scene, limit: int, rng: Random, _: Ambiguity) -> list[Question]:
        return [self._longest_side(scene, box) for box in rng.sample(scene.singles, min(limit, len(scene.singles)))]

    def _longest_side(self, scene: Scene, box: Box) -> Question:
        metres, text = float(box.extents.max()), self.longest_side.format(a=box.category)
        centimetres = str(round(100 * metres))
        return self._question(scene, schema.OBJECT_SIZE, text, centimetres, [box.category], round(metres, 4))

    def _room_size(self, scene: Scene, limit: int, _: Random, __: Ambiguity) -> list[Question]:
        if scene.room_size is None or not limit:
            return []
        answer, value = f"{scene.room_size:.1f}", round(scene.room_size, 4)
        return [self._question(scene, schema.ROOM_SIZE, self.room_size, answer, [], value)]

    def _question(self, scene: Scene, task: str, text: str, answer: str, names: list[str], value: Any) -> Question:
        trace = {"rule": f"{self.rules}/{task}", "objects": names, "value": value}
        return Question(task, text, answer, "number", scene.id, trace=trace)
