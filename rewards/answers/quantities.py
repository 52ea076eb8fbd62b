"""Quantities in running text: numbers as people write them, with the unit they carry.

"a 3.5 m gap"                    3.5 m       "3,5 m"           3.5 m      (decimal comma)
"1,200" "1.200,5" "1,200.5"      1200 ...    "0,125"           0.125
"3 1/2" "3-1/2" "7/2"            3.5         "3 and a half"    3.5
"twenty-one" "two and a half"    21, 2.5     "minus two"       -2
"half a metre"                   0.5 m       "three point five" 3.5
"three quarters of a metre"      0.75 m      "a dozen"         12
"5 ft 11 in"  5'11" 5'11         1.8034 m    "1 m 20" "1m20"  1.2 m
"4 m x 5 m" "4x5"                20 m2       (where an area is asked for)
"2-3" "2 to 3" "between 2 and 3" 2.5         (a range is read as its middle)
"1-5"                            nothing     (a range whose ends differ more than twofold says no number)
"3.5 ± 0.2 m"                    3.5 m       (how sure one is, is not read)
"3D" "2nd" "scene0025"           nothing     (a number grown together with letters is a name)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from verl_vsi.rewards.answers.number_words import NUMBER_WORDS, add_up
from verl_vsi.rewards.answers.units import METRES, UNIT_PATTERN, convert, unit_of


@dataclass(frozen=True)
class Quantity:
    """A number read from a text, where it starts and ends there, and the unit it carries (None: no unit)."""

    value: float
    unit: str | None
    start: int
    end: int


_PARTS = {"half": 0.5, "quarter": 0.25, "third": 1 / 3}
_COUNTS = {"": 1, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3}

_WORD = rf"(?:{'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})"
_AND_PART = r"[ -]and[ -](?:(?P<tail_count>a|one|two|three)[ -])?(?P<tail_part>half|third|quarter)s?\b"
_WORDS = rf"\b(?P<words>{_WORD}(?:(?:[ -]|,? and ){_WORD})*)(?P<point> point(?: {_WORD})+)?\b"
_PART = r"\b(?:(?P<count>an?|one|two|three)[ -])?(?P<part>half|quarter|third(?=s? of\b))s?\b(?: of)?(?: an?\b)?"
_FRACTION = r"(?<![^\W_])(?<!\d[.,/])(?:(?P<whole>\d{1,4})(?: |-| and ))?(?P<over>\d{1,4})/(?P<under>\d{1,3})(?![\d/])"
_DIGITS = r"(?<![^\W_])(?<!\d[.,])(?P<digits>\d+(?:[.,]\d+)*|[.]\d+)(?P<exponent>e[+-]?\d{1,3})?"
_SIGN = r"(?:(?<![\w.)])(?P<sign>-|minus |negative ))?"
_NUMBER = rf"{_SIGN}(?:{_FRACTION}|{_PART}|(?:{_DIGITS}|{_WORDS})(?:{_AND_PART})?)"
_QUANTITY = re.compile(rf"""{_NUMBER}(?:[ -]?[(\[]?(?:{UNIT_PATTERN}))?(?:(?<=['"])|(?![^\W_]))""")
_GROUPED = re.compile(
    r"(?P<whole>[1-9]\d{0,2}(?:(?:,\d{3})+(?=\.|$)|(?:\.\d{3})+(?=,)|(?:\.\d{3}){2,}$))(?:[.,](?P<part>\d+))?"
)
_DASH = re.compile(r" ?(?:-|to) ?")
_UNSURE = re.compile(r" ?\(?(?:±|\+/?-|plus or minus) ?[\d.,]+")
_COLLECTIVE = re.compile(r"\b(?:(?P<dozens>half a|an?|two|three) )?dozen\b|\ba (?:couple|pair)\b")
_DOZENS = {"half a": 6, "two": 24, "three": 36}


def quantities(text: str, areas: bool = False) -> list[Quantity]:
    """Every quantity of a text (lower case, single spaces), ranges and compound lengths joined.

    Args:
        text: lower case, single spaces.
        areas: read two lengths that are multiplied (`4 m x 5 m`, `4x5`) as their area.
    """
    text = _GROWN_METRES.sub(r"\1 m \2", _COLLECTIVE.sub(_collective, _UNSURE.sub("", text)))
    text = _GROWN_TIMES.sub(" x ", text) if areas else text
    joined = _join(_join(list(_simple(text)), text, _compound), text, _range)
    joined = _join(joined, text, _product) if areas else joined
    return [quantity for quantity in joined if math.isfinite(quantity.value)]


def _collective(match: re.Match[str]) -> str:
    return str(_DOZENS.get(match["dozens"], 12)) if match.group().endswith("dozen") else "2"


def _simple(text: str) -> Iterator[Quantity]:
    for match in _QUANTITY.finditer(text):
        value = _value(match)
        unit = None if _quoted(match) else unit_of(match)
        yield Quantity(-value if match["sign"] else value, unit, match.start(), match.end())


def _quoted(match: re.Match[str]) -> bool:
    """Does a mark after the number close a quotation, instead of meaning feet or inches?"""
    before = match.string[: match.start()][-1:]
    return before in ("'", '"') and match.group().endswith(before)


def _value(match: re.Match[str]) -> float:
    if match["under"]:
        under = int(match["under"])
        return int(match["whole"] or 0) + int(match["over"]) / under if under else math.nan
    if match["part"]:
        return _COUNTS[match["count"] or ""] * _PARTS[match["part"]]
    tail = _COUNTS[match["tail_count"] or ""] * _PARTS[match["tail_part"]] if match["tail_part"] else 0.0
    if match["digits"]:
        return float(plain_decimal(match["digits"]) + (match["exponent"] or "")) + tail
    whole = add_up(word for word in re.findall(r"[a-z]+", match["words"]) if word != "and")
    if match["point"] and math.isfinite(whole):
        return float(f"{whole:.0f}." + "".join(str(NUMBER_WORDS[word]) for word in match["point"].split()[1:]))
    return whole + tail


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


_GROWN_METRES = re.compile(r"\b(\d{1,2})m(\d\d)\b")
_IMPLIED = {"m": ("cm", re.compile(r"\d\d")), "ft": ("in", re.compile(r"\d|1[01]"))}
"""Unit -> the smaller one that a number straight after it is in, and how such a number looks."""


def _compound(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`5 ft 11 in`, `1 m 20 cm`, `1 m 20`: one length, in the larger unit."""
    between, unit = text[left.end : right.start], right.unit
    if between not in ("", " ", ". ", " and ", ", "):
        return None
    if unit is None and between in ("", " ") and left.unit in _IMPLIED and left.value.is_integer():
        smaller, digits = _IMPLIED[left.unit]
        unit = smaller if digits.fullmatch(text[right.start : right.end]) else None
    large, small = METRES.get(left.unit or "", 0.0), METRES.get(unit or "", math.inf)
    if small >= large:
        return None
    return Quantity(left.value + right.value * small / large, left.unit, left.start, right.end)


_TIMES = re.compile(r" (?:x|by|times) ")
_GROWN_TIMES = re.compile(r"(?<=[\dm'\"]) ?[x×*] ?(?=\d)")


def _product(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`4 m x 5 m`, `4 by 5 m`, `4x5`: an area; a height after them stays by itself."""
    lengths = METRES.keys() | {None}
    if not _TIMES.fullmatch(text[left.end : right.start]) or not {left.unit, right.unit} <= lengths:
        return None
    unit = right.unit or left.unit or "m"
    return Quantity(convert(left.value, left.unit, unit) * right.value, f"{unit}2", left.start, right.end)


_WIDEST = 2.0
"""Times the lower end that a range may reach up to: the middle of a wider one would be a hedge."""


def _range(left: Quantity, right: Quantity, text: str) -> Quantity | None:
    """`2-3`, `2 to 3 m`, `between 2 and 3`: the middle; not a number where the ends are far apart."""
    between = text[left.end : right.start]
    spelled_out = text[: left.start].endswith("between ") and between == " and "
    unit = right.unit or left.unit
    low = convert(left.value, left.unit, unit or "")
    if not (spelled_out or _DASH.fullmatch(between)) or low > right.value:
        return None
    middle = (low + right.value) / 2 if right.value <= _WIDEST * low else math.nan
    return Quantity(middle, unit, left.start, right.end)
