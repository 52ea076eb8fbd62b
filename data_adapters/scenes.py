"""A scene as every source yields it: named boxes in metres, a room size, and the video that shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
        shapes = {"centroid": (3,), "extents": (3,), "axes": (3, 3)} | ({} if self.center is None else {"center": (3,)})
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"box '{self.category}': {name} must be {shape} finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        if (self.extents <= 0).any():
            raise ValueError(f"box '{self.category}': extents must be positive metres, got {self.extents.tolist()}")

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
    """

    id: str
    dataset: str
    video: str
    room_size: float | None
    boxes: tuple[Box, ...]
    counts: Mapping[str, int]
    first_seen: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

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
