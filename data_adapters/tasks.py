"""The tasks by VSI-Bench's own names (arXiv 2412.14171), and a question as every rule set yields it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["number", "word", "choice"]

COUNTING = "object_counting"
ABS_DISTANCE = "object_abs_distance"
OBJECT_SIZE = "object_size_estimation"
ROOM_SIZE = "room_size_estimation"
REL_DISTANCE = "object_rel_distance"
DIRECTION_EASY = "object_rel_direction_easy"
DIRECTION_MEDIUM = "object_rel_direction_medium"
DIRECTION_HARD = "object_rel_direction_hard"
ROUTE = "route_planning"
APPEARANCE = "obj_appearance_order"

NUMERIC = (COUNTING, ABS_DISTANCE, OBJECT_SIZE, ROOM_SIZE)
DIRECTIONS = (DIRECTION_EASY, DIRECTION_MEDIUM, DIRECTION_HARD)
TASKS = (*NUMERIC, REL_DISTANCE, *DIRECTIONS, ROUTE, APPEARANCE)
"""All ten question types, in the order of the benchmark's table."""


@dataclass(frozen=True)
class Question:
    """One question about one scene.

    Args:
        task: one of `TASKS`.
        text: the question as the model reads it, without any mode's prompt.
        answer: the truth as text: ``3``, ``6.1``, ``left``, or the letter of an option.
        kind: how the answer is scored.
        scene_id: the scene it is about.
        options: ``A. chair``, ... for lettered choices; empty otherwise.
        trace: which rule made it from which boxes, for the audit.
    """

    task: str
    text: str
    answer: str
    kind: Kind
    scene_id: str
    options: tuple[str, ...] = ()
    trace: Mapping[str, Any] = field(default_factory=dict)
