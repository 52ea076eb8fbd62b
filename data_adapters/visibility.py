"""Which frames of a video show which objects: what an answer that is true of the frames has to be held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 12 / 112**2
"""Of a frame's pixels that an object must cover to count as seen in it: 12 of a rendered room's 112 x 112."""

MOST_FRAMES = 1_000_000
"""Of a video; ScanNet's longest stream has some 8,000."""


@dataclass(frozen=True)
class Visibility:
    """What the frames of a scene's video show.

    Args:
        frames: of the video.
        rate: frames a second.
        judged: numbers of the frames that were looked at, ascending; others say nothing.
        shown: of each box of the scene, in its order, the frames among `judged` that show it.
    """

    frames: int
    rate: float
    judged: tuple[int, ...]
    shown: tuple[frozenset[int], ...]

    def __post_init__(self) -> None:
        """Refuse what is of no video."""
        if not 0 < self.frames <= MOST_FRAMES or not self.rate > 0:
            raise ValueError(f"visible: {self.frames!r} frames at {self.rate!r} a second are no video")
        judged = set(self.judged)
        if not judged <= set(range(self.frames)) or not all(numbers <= judged for numbers in self.shown):
            raise ValueError(f"visible: an object shows in a frame that was not judged, or is none of {self.frames}")

    def seen(self, numbers: Iterable[int]) -> NDArray[np.bool_]:
        """Which boxes at least one of the frames shows, (boxes,).

        Args:
            numbers: of frames.

        Raises:
            ValueError: one of them was not judged.
        """
        chosen = frozenset(numbers)
        if missing := sorted(chosen.difference(self.judged)):
            raise ValueError(f"frame {missing[0]} was not looked at; build the rows again for this choice of frames")
        return np.array([bool(chosen & numbers) for numbers in self.shown], dtype=np.bool_)

    def to_json(self) -> dict[str, Any]:
        """As plain types, frames as [first, last] of their runs."""
        return {"frames": self.frames, "rate": self.rate, "judged": runs(self.judged),
                "shown": [runs(sorted(numbers)) for numbers in self.shown]}  # fmt: skip

    @classmethod
    def from_json(cls, node: Any, boxes: int) -> Visibility:
        """What `to_json` gave.

        Args:
            node: of a scene's record.
            boxes: of the scene.

        Raises:
            ValueError, TypeError, KeyError: it is none, or of another number of boxes.
        """
        shown = tuple(frozenset(numbers_of(pairs)) for pairs in node["shown"])
        if len(shown) != boxes:
            raise ValueError(f"visible: {len(shown)} objects, but the scene has {boxes} boxes")
        return cls(int(node["frames"]), float(node["rate"]), tuple(numbers_of(node["judged"])), shown)


def runs(numbers: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] of their runs."""
    groups = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[run[0][1], run[-1][1]] for run in (list(group) for _, group in groups)]


def numbers_of(pairs: Any) -> list[int]:
    """The numbers of `runs`.

    Raises:
        ValueError, TypeError: they are none.
    """
    for first, last in pairs:
        if not (isinstance(first, int) and isinstance(last, int) and 0 <= first <= last < MOST_FRAMES):
            raise ValueError(f"visible: frames {first!r:.20} to {last!r:.20} are no run of frames")
    return [number for first, last in pairs for number in range(first, last + 1)]
