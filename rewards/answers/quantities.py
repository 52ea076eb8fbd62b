"""Quantities in running text: numbers as people write them, with the unit they carry.

"a 3.5 m gap"                    3.5 m       "3,5 m"           3.5 m      (decimal comma)
"1,200" "1.200,5" "1,200.5"      1200 ...    "0,125"           0.125
"twenty-one" "two and a half"    21, 2.5     "minus two"       -2
"half a metre"                   0.5 m       "three point five" 3.5
"5 ft 11 in"  5'11"              1.8034 m    "1 m 20 cm"       1.2 m
"2-3" "2 to 3" "between 2 and 3" 2.5         (a range is read as its middle)
"3D" "2nd" "scene0025"           nothing     (a number grown together with letters is a name)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from verl_vsi.rewards.answers import units
from verl_vsi.rewards.answers.number_words import VALUES, add_up


@dataclass(frozen=True)
class Quantity:
    """A number read from a text, where it starts and ends there, and the unit it carries (None: no unit)."""

    value: float
    unit: str | None
    start: int
    end: int


_WORD = rf"(?:{'|'.join(sorted(VALUES, key=len, reverse=True))})"
_WORDS = rf"\b(?P<words>{_WORD}(?:(?:[ -]|,? and ){_WORD})*)(?P<tail> and a half| point(?: {_WORD})+)?\b"
_HALF = r"(?P<half>\b(?:a )?half(?: an?)?\b)"
_DIGITS = r"(?<![^\W_])(?<!\d[.,])(?P<digits>\d+(?:[.,]\d+)*|[.]\d+)(?P<exponent>e[+-]?\d{1,3})?"
_SIGN = r"(?:(?<![\w.)])(?P<sign>-|minus |negative ))?"
_QUANTITY = re.compile(
    rf"""{_SIGN}(?:{_DIGITS}|{_WORDS}|{_HALF})(?:[ -]?(?:{units.PATTERN}))?(?:(?<=['"])|(?![^\W_]))"""
)
_GROUPED = re.compile(
    r"(?P<whole>[1-9]\d{0,2}(?:(?:,\d{3})+(?=\.|$)|(?:\.\d{3})+(?=,)|(?:\.\d{3}){2,}$))(?:[.,](?P<part>\d+))?"
)
_DASH = re.compile(r" ?(?:-|to) ?")


def quantities(text: str) -> list[Quantity]:
    """Every quantity of a text (lower case, single spaces), ranges and compound lengths joined."""
    return _join(_join(list(_simple(text)), text, _compound), text, _range)


def _simple(text: str) -> Iterator[Quantity]:
    for match in _QUANTITY.finditer(text):
        value = _value(match)
        unit = None if _quoted(match) else units.unit_of(match)
        if math.isfinite(value):
            yield Quantity(-value if match["sign"] else value, unit, match.start(), match.end())


def _quoted(match: re.Match[str]) -> bool:
    """Does a mark after the number close a quotation, instead of meaning feet or inches?"""
    before = match.string[: match.start()][-1:]
    return before in ("'", '"') and match.group().endswith(before)


def _value(match: re.Match[str]) -> float:
    if match["half"]:
        return 0.5
    if match["digits"]:
        return float(plain_decimal(match["digits"]) + (match["exponent"] or ""))
    whole = add_up(word for word in re.findall(r"[a-z]+", match["words"]) if word != "and")
    tail = match["tail"] or ""
    if tail.startswith(" point"):
        return float(f"{whole:.0f}." + "".join(str(VALUES[word]) for word in tail.split()[1:]))
    return whole + (0.5 if tail else 0.0)


def plain_decimal(digits: str) -> str:
    """Digits with separators as Python writes them: `1,200` is 1200, `3,5` is 3.5, `1.200,5` is 1200.5."""
    grouped = _GROUPED.fullmatch(digits)
    if grouped:
        return re.sub("[.,]", "", grouped["whole"]) + "." + (grouped["part"] or "0")
    if digits.count(",") + digits.count(".") > 1:  # a list or a version, not a number: its first member
        return re.split("[.,]", digits, maxsplit=1)[0]
    return digits.replace(",", ".")


def _join(
    found: list[Quantity], text: str, joins: Callable[[Quantity, Quantity, str], Quantity | None]
) -> list[Quantity]:
    """Replace neighbours by what they make together, from left to right."""
    joined: list[Quantity] = []
    for right in found:
        together = joins(joined[-1], right, text) if joined else None
        if together:
            joined[-1] = together
        else:
            joined.append(right)
    return joined


def _compound(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`5 ft 11 in`, `1 m 20 cm`: one length, in the larger unit."""
    if text[left.end : right.start] not in ("", " ", " and ", ", "):
        return None
    large, small = units.METRES.get(left.unit or "", 0.0), units.METRES.get(right.unit or "", math.inf)
    if small >= large:
        return None
    return Quantity(left.value + right.value * small / large, left.unit, left.start, right.end)


def _range(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`2-3`, `2 to 3 m`, `between 2 and 3`: the middle."""
    between = text[left.end : right.start]
    told = text[: left.start].endswith("between ") and between == " and "
    unit = right.unit or left.unit
    low = units.convert(left.value, left.unit, unit or "")
    if not (told or _DASH.fullmatch(between)) or low > right.value:
        return None
    return Quantity((low + right.value) / 2, unit, left.start, right.end)
