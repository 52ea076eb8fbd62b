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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_NUMBER_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
"""

NUMBER_WORDS: dict[str, int] = dict(
    zip(_NUMBER_WORDS.split(), [*range(20), *range(20, 100, 10), 100, 1000], strict=True)
)
"""English number word, zero to thousand -> its value."""


def add_up(words: Iterable[str]) -> float:
    """The value of a run of number words: `two hundred twenty one` is 221.

    Words that make no number together are added all the same (`one two` is 3), as lmms-eval does.
    """
    total = current = 0
    for word in words:
        value = NUMBER_WORDS[word]
        if value == 1000:
            total, current = total + max(current, 1) * 1000, 0
        elif value == 100:
            current = max(current, 1) * 100
        else:
            current += value
    return float(total + current)


TASK_UNITS: dict[str, str] = {
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


def _area(spellings: str) -> str:
    return rf"(?:sq(?:uare|\.)?[ -]?(?:{spellings})\b|(?:{spellings})(?:\^?2|\*\*2| squared)(?!\w))"


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


@dataclass(frozen=True)
class Quantity:
    """A number read from a text, where it starts and ends there, and the unit it carries (None: no unit)."""

    value: float
    unit: str | None
    start: int
    end: int


_WORD = rf"(?:{'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})"
_WORDS = rf"\b(?P<words>{_WORD}(?:(?:[ -]|,? and ){_WORD})*)(?P<tail> and a half| point(?: {_WORD})+)?\b"
_HALF = r"(?P<half>\b(?:a )?half(?: an?)?\b)"
_DIGITS = r"(?<![^\W_])(?<!\d[.,])(?P<digits>\d+(?:[.,]\d+)*|[.]\d+)(?P<exponent>e[+-]?\d{1,3})?"
_SIGN = r"(?:(?<![\w.)])(?P<sign>-|minus |negative ))?"
_QUANTITY = re.compile(
    rf"""{_SIGN}(?:{_DIGITS}|{_WORDS}|{_HALF})(?:[ -]?(?:{UNIT_PATTERN}))?(?:(?<=['"])|(?![^\W_]))"""
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
        unit = None if _quoted(match) else unit_of(match)
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
        return float(f"{whole:.0f}." + "".join(str(NUMBER_WORDS[word]) for word in tail.split()[1:]))
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
    parts: list[Quantity], text: str, join: Callable[[Quantity, Quantity, str], Quantity | None]
) -> list[Quantity]:
    """Replace neighbours by what they make together, from left to right."""
    output: list[Quantity] = []
    for right in parts:
        joint = join(output[-1], right, text) if output else None
        if joint:
            output[-1] = joint
        else:
            output.append(right)
    return output


def _compound(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`5 ft 11 in`, `1 m 20 cm`: one length, in the larger unit."""
    if text[left.end : right.start] not in ("", " ", " and ", ", "):
        return None
    large, small = METRES.get(left.unit or "", 0.0), METRES.get(right.unit or "", math.inf)
    if small >= large:
        return None
    return Quantity(left.value + right.value * small / large, left.unit, left.start, right.end)


def _range(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`2-3`, `2 to 3 m`, `between 2 and 3`: the middle."""
    between = text[left.end : right.start]
    spelled_out = text[: left.start].endswith("between ") and between == " and "
    unit = right.unit or left.unit
    low = convert(left.value, left.unit, unit or "")
    if not (spelled_out or _DASH.fullmatch(between)) or low > right.value:
        return None
    return Quantity((low + right.value) / 2, unit, left.start, right.end)
