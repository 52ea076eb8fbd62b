"""The words of this room: tasks and questions, scenes of named boxes in metres, and what was left out.

Task names are VSI-Bench's own (arXiv 2412.14171). Every source yields `Scene` records and every rule set `Question`
records; in place of what cannot be used stands a `Rejected`: nothing is dropped without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.limits import MOST_BOXES, check_box, check_counts, check_name, check_room, check_times
from verl_vsi.data_adapters.visibility import Visibility
from verl_vsi.rewards.answers import Kind

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


Array = NDArray[np.float64]
"""Coordinates, metres."""


@dataclass(frozen=True, eq=False)
class Box:
    """One object's oriented 3D box; z is up.

    Args:
        category: the label that questions use, e.g. ``trash can``.
        centroid: (3,) middle of the box, metres.
        extents: (3,) full side lengths along `axes`, metres.
        axes: (3, 3) the box's axes as unit rows.
        center: (3,) geometric centre of the object's points where known, metres (the paper measures
            distances between these, section 3); None: `centroid`.
    """

    category: str
    centroid: Array
    extents: Array
    axes: Array
    center: Array | None = None

    def __post_init__(self) -> None:
        """Refuse a box that no question could be true of."""
        check_name(self.category, "a box's category")
        shapes = {"centroid": (3,), "extents": (3,), "axes": (3, 3)} | ({} if self.center is None else {"center": (3,)})
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"box '{self.category}': {name} must be {shape} finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        check_box(f"box '{self.category}'", self.centroid, self.extents, self.axes)

    @property
    def point(self) -> Array:
        """(3,) the point that stands for the object in centre distances, metres."""
        return self.centroid if self.center is None else self.center

    @property
    def corners(self) -> Array:
        """(8, 3) corner points, metres."""
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij")).reshape(3, 8).T
        return self.centroid + (signs * self.extents / 2) @ self.axes


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of one scanned (or rendered) room.

    Args:
        id: the dataset's own scene name, e.g. ``scene0025_01``.
        dataset: ``scannet``, ``scannetpp``, ``arkitscenes`` or ``rooms``.
        video: path of its video relative to the data root, with forward slashes.
        room_size: floor area, m2; None where unknown.
        boxes: every annotated object.
        counts: objects a category; may exceed the boxes where only some are boxed.
        first_seen: seconds into the video at which a category first shows, where known.
        visible: which frames of the video show which boxes, where known.
    """

    id: str
    dataset: str
    video: str
    room_size: float | None
    boxes: tuple[Box, ...]
    counts: Mapping[str, int]
    first_seen: Mapping[str, float] = field(default_factory=dict)
    visible: Visibility | None = None

    def __post_init__(self) -> None:
        """Refuse what no file of scenes should hold: names that do not print, counts and sizes that cannot be."""
        check_name(self.id, "a scene's id")
        check_name(self.dataset, "a scene's dataset")
        check_room(self.room_size)
        check_counts(self.counts)
        check_times(self.first_seen)
        if len(self.boxes) > MOST_BOXES:
            raise ValueError(f"{len(self.boxes)} boxes are too many (limits.MOST_BOXES is {MOST_BOXES})")
        if self.visible is not None and len(self.visible.shown) != len(self.boxes):
            raise ValueError(f"visible: {len(self.visible.shown)} objects, but the scene has {len(self.boxes)} boxes")

    def of(self, category: str) -> tuple[Box, ...]:
        """All boxes of one category."""
        return tuple(b for b in self.boxes if b.category == category)

    @cached_property
    def singles(self) -> tuple[Box, ...]:
        """Boxes whose category is counted once and boxed once: the objects that a question can name without doubt.

        Both, because real files count one printer where two are boxed.
        """
        boxed = Counter(b.category for b in self.boxes)
        return tuple(b for b in self.boxes if self.counts.get(b.category) == boxed[b.category] == 1)


@dataclass(frozen=True)
class Rejected:
    """Something that was left out.

    Args:
        where: the scene, or the file and its row.
        reason: a few words that many may share, for the summary.
        detail: the value and what to do.
    """

    where: str
    reason: str
    detail: str = ""


def sort_out(items: Iterable[Scene | Rejected]) -> tuple[list[Scene], list[Rejected]]:
    """Part what can be used from what cannot; a scene without boxes goes to the latter."""
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    for item in items:
        if isinstance(item, Rejected):
            rejected.append(item)
        elif not item.boxes:
            rejected.append(Rejected(item.id, "scene without boxes", f"{item.dataset}: no object is annotated"))
        else:
            scenes.append(item)
    return scenes, rejected
