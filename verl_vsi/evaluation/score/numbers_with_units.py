"""Numbers as test-set-training reads them for the values it publishes (arXiv 2511.04655): words, then units.

Its rule is kept to the letter, because its values are held against it: of a size, whatever says "meter" and not
"centimeter" is metres, millimetres included.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")
_UNITS = {"centimetres": ("centimeter", "cm"), "millimetres": ("millimeter", "mm"), "metres": ("meter", "m")}


def read_number(response: str, task: str) -> float | None:
    """The first number of an answer, in the question's unit: metres for distances, centimetres for sizes.

    Args:
        response: what the model wrote.
        task: question type.

    Raises:
        ImportError: text2digits, which makes digits of number words, is not installed.
    """
    text = response.strip().lower()
    match = _NUMBER.search(_converter().convert(text.rstrip(".").strip()).replace(",", ""))
    if match is None:
        return None
    number = float(match.group())
    says = {unit for unit, (name, symbol) in _UNITS.items() if name in text or re.search(rf"\b{symbol}\b", text)}
    if task == "object_abs_distance":
        return number / 100 if "centimetres" in says else number / 1000 if "millimetres" in says else number
    if task == "object_size_estimation":
        in_metres = "metres" in says and "centimetres" not in says
        return number * 100 if in_metres else number / 10 if "millimetres" in says else number
    return number


@cache
def _converter() -> Any:
    try:
        from text2digits.text2digits import Text2Digits
    except ImportError as error:
        raise ImportError(
            "the published numbers were read with text2digits, which is not installed: pip install text2digits"
        ) from error
    return Text2Digits()
