"""Units of length and area: what a response may say, and what a task asks for."""

from __future__ import annotations

import re

WANTED: dict[str, str] = {
    "object_counting": "",
    "object_abs_distance": "m",
    "object_size_estimation": "cm",
    "room_size_estimation": "m2",
}
"""Numeric task -> the unit of its truth; a count has none."""

_LENGTHS: dict[str, tuple[float, str]] = {
    "mm": (0.001, r"mm|millimet(?:er|re)s?"),
    "cm": (0.01, r"cms?|centimet(?:er|re)s?"),
    "m": (1.0, r"m|met(?:er|re)s?"),
    "in": (0.0254, r"inch(?:es)?|in(?! \w)"),
    "ft": (0.3048, r"ft|feet|foot"),
    "yd": (0.9144, r"yards?|yd"),
}
"""Unit -> metres, and the ways to write it (lower case)."""

METRES: dict[str, float] = {unit: metres for unit, (metres, _) in _LENGTHS.items()}


def _area(written: str) -> str:
    return rf"(?:sq(?:uare|\.)?[ -]?(?:{written})\b|(?:{written})(?:\^?2|\*\*2| squared)(?!\w))"


def _length(unit: str, written: str) -> str:
    mark = {"in": "|\"|''", "ft": "|'"}.get(unit, "")
    return rf"(?:{written})(?!\w){mark}"


PATTERN = "|".join(
    [rf"(?P<{unit}2>{_area(written)})" for unit, (_, written) in _LENGTHS.items()]
    + [rf"(?P<{unit}>{_length(unit, written)})" for unit, (_, written) in _LENGTHS.items()]
)
"""One named group a unit; the areas first, since `m2` also starts like `m`."""

_FACTORS = METRES | {f"{unit}2": metres**2 for unit, metres in METRES.items()}


def convert(value: float, said: str | None, wanted: str) -> float:
    """A value in the wanted unit; as it is where no unit was said, none is wanted, or length meets area."""
    if not said or not wanted or said == wanted or is_area(said) != is_area(wanted):
        return value
    return value * _FACTORS[said] / _FACTORS[wanted]


def is_area(unit: str) -> bool:
    """Is it a unit of area?"""
    return unit.endswith("2")


def unit_of(match: re.Match[str]) -> str | None:
    """The unit that a match of a pattern around `PATTERN` found."""
    return next((unit for unit in _FACTORS if match.group(unit)), None)
