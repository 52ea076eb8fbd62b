"""Units of length and area: the ways to write them, and one in terms of another."""

from __future__ import annotations

import re

TASK_UNITS: dict[str, str] = {
    "object_counting": "",
    "object_abs_distance": "m",
    "object_size_estimation": "cm",
    "room_size_estimation": "m2",
}
"""Numeric task -> the unit of its truth; a count has none."""

_LENGTHS: dict[str, tuple[float, str]] = {
    "mm": (0.001, r"mms?|millimet(?:er|re)s?"),
    "cm": (0.01, r"cms?|centimet(?:er|re)s?"),
    "dm": (0.1, r"dms?|decimet(?:er|re)s?"),
    "m": (1.0, r"m|mtrs?|met(?:er|re)s?"),
    "km": (1000.0, r"kms?|kilomet(?:er|re)s?"),
    "in": (0.0254, r"inch(?:es)?|in(?! \w)"),
    "ft": (0.3048, r"ft|feet|foot"),
    "yd": (0.9144, r"yards?|yds?"),
}
"""Unit -> metres, and the ways to write it (lower case)."""

METRES: dict[str, float] = {unit: metres for unit, (metres, _) in _LENGTHS.items()}


def _area(spellings: str) -> str:
    return rf"(?:sq(?:uare|\.)?[ -]?(?:{spellings})\b|(?:{spellings})(?:\^?2|\*\*2|[ -]squared)(?!\w))"


def _length(unit: str, spellings: str) -> str:
    mark = {"in": "|\"|''", "ft": "|'"}.get(unit, "")
    return rf"(?:{spellings})(?!\w){mark}"


UNIT_PATTERN = "|".join(
    [rf"(?P<{unit}2>{_area(spellings)})" for unit, (_, spellings) in _LENGTHS.items()]
    + [rf"(?P<{unit}>{_length(unit, spellings)})" for unit, (_, spellings) in _LENGTHS.items()]
)
"""One named group a unit; the areas first, since `m2` also starts like `m`."""

_FACTORS = METRES | {f"{unit}2": metres**2 for unit, metres in METRES.items()}


def convert(value: float, unit: str | None, target: str) -> float:
    """A value in the target unit; as it is where one of the units is missing, or length meets area.

    Args:
        value: the number.
        unit: what it is in: `m`, `cm`, `ft2`, ...; None: the response names no unit.
        target: what the truth is in; empty for a count.
    """
    if not unit or not target or unit == target or is_area(unit) != is_area(target):
        return value
    return value * _FACTORS[unit] / _FACTORS[target]


def is_area(unit: str) -> bool:
    """Is it a unit of area?"""
    return unit.endswith("2")


def unit_of(match: re.Match[str]) -> str | None:
    """The unit in a match of a pattern around `UNIT_PATTERN`."""
    return next((unit for unit in _FACTORS if match.group(unit)), None)
