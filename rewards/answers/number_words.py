"""English number words, and what a run of them adds up to."""

from __future__ import annotations

import math
from collections.abc import Iterable

_NUMBER_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
"""

NUMBER_WORDS: dict[str, int] = dict(
    zip(_NUMBER_WORDS.split(), [*range(20), *range(20, 100, 10), 100, 1000], strict=True)
)
"""English number word, zero to thousand -> its value."""

_LARGEST = 10**308
"""Sums only grow; what is beyond this is no float any more."""


def add_up(words: Iterable[str]) -> float:
    """The value of a run of number words: `two hundred twenty one` is 221.

    Words that make no number together are added all the same (`one two` is 3), as lmms-eval does; infinity where no
    float is that large ("hundred" 155 times).
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
        if current + total > _LARGEST:
            return math.inf
    return float(total + current)
