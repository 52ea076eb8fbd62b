"""English number words, zero to thousands."""

from __future__ import annotations

from collections.abc import Iterable

_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
"""

VALUES: dict[str, int] = dict(zip(_WORDS.split(), [*range(20), *range(20, 100, 10), 100, 1000], strict=True))
"""Number word -> its value."""


def add_up(words: Iterable[str]) -> float:
    """The value of a run of number words: `two hundred twenty one` is 221.

    Words that make no number together are added all the same (`one two` is 3), as lmms-eval does.
    """
    total = current = 0
    for word in words:
        value = VALUES[word]
        if value == 1000:
            total, current = total + max(current, 1) * 1000, 0
        elif value == 100:
            current = max(current, 1) * 100
        else:
            current += value
    return float(total + current)
