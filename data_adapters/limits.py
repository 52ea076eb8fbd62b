"""What a room, its objects and their names can be: beyond it, a file holds an error or an attack, and says so.

Each is far from what the datasets hold, and is named in the error, so that who knows better can change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

LONGEST_SIDE = 25.0
"""Metres of an object; the longest boxed in the benchmark's ScanNet scenes has 5.5."""

LARGEST_VOLUME = 500.0
"""Cubic metres of an object's box, which closest-point distances fill with points every 5 cm; theirs: 9.9."""

FARTHEST = 10_000.0
"""Metres of an object from the origin; theirs: 5.9."""

MOST_BOXES = 1_000
"""In one scene; questions are drawn from all pairs. Theirs: 47."""

MOST_OBJECTS = 10_000
"""Of one category in one scene; theirs: 38."""

LARGEST_ROOM = 5_000.0
"""Square metres; theirs: 52."""

SKEW = 0.05
"""How far the products of a box's axes may be from those of unit vectors at right angles; theirs: 4e-16."""


def check_name(name: object, what: str) -> None:
    """Refuse a name that is no text, empty, or holds characters that do not print.

    Args:
        name: of a scene, a dataset or a category.
        what: it is, for the message.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"{what} must be a printable text, got {name!r:.80}")


def check_box(where: str, centroid: Vector, extents: Vector, axes: Vector) -> None:
    """Refuse a box that no object of a room has.

    Args:
        where: start of the message.
        centroid: (3,) metres.
        extents: (3,) metres.
        axes: (3, 3).

    Raises:
        ValueError: says what is wrong, and which limit.
    """
    if (extents <= 0).any():
        raise ValueError(f"{where}: extents must be positive metres, got {extents.tolist()}")
    for name, value, most in (
        ("LONGEST_SIDE", extents.max(), LONGEST_SIDE),
        ("LARGEST_VOLUME", extents.prod(), LARGEST_VOLUME),
        ("FARTHEST", np.abs(centroid).max(), FARTHEST),
    ):
        if value > most:
            raise ValueError(f"{where}: {value:.4g} is implausible (limits.{name} is {most:g}); are these metres?")
    skew = float(np.abs(axes @ axes.T - np.eye(3)).max())
    if skew > SKEW:
        raise ValueError(f"{where}: axes must be three unit vectors at right angles, got {axes.tolist()}")


def check_counts(counts: object) -> None:
    """Refuse counts of objects that are no whole numbers of named things.

    Args:
        counts: category -> number.

    Raises:
        ValueError: says which and what.
    """
    for category, count in _entries(counts, "counts"):
        check_name(category, "a counted category")
        number = as_number(count)
        if number is None or number != int(number) or not 0 <= number <= MOST_OBJECTS:
            raise ValueError(
                f"counts of '{category}' must be a whole number up to {MOST_OBJECTS} (limits.MOST_OBJECTS), "
                f"got {count!r:.80}"
            )


def check_times(times: object) -> None:
    """Refuse times of first appearance that are no seconds.

    Args:
        times: category -> seconds.

    Raises:
        ValueError: says which and what.
    """
    for category, seconds in _entries(times, "first_seen"):
        number = as_number(seconds)
        if number is None or number < 0:
            raise ValueError(f"first_seen of '{category}' must be seconds, got {seconds!r:.80}")


def check_room(size: object) -> None:
    """Refuse a floor area that no room has; None is unknown.

    Args:
        size: square metres.

    Raises:
        ValueError: says what it is.
    """
    number = as_number(size)
    if size is not None and (number is None or not 0 < number <= LARGEST_ROOM):
        raise ValueError(
            f"room_size must be positive m2 up to {LARGEST_ROOM:g} (limits.LARGEST_ROOM), got {size!r:.80}"
        )


def as_number(value: object) -> float | None:
    """A finite number of any of Python's or numpy's kinds; None for anything else, true and false too."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    number = float(value)
    return number if np.isfinite(number) else None


def _entries(values: object, what: str) -> Iterable[tuple[object, object]]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} must map categories to numbers, got {values!r:.80}")
    return values.items()
