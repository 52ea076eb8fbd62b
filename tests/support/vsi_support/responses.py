"""Responses made up by a seed: what models write, what they should not, and what nobody would."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

PIECES = [
    *("<think>", "</think>", "<observe>", "</observe>", "<answer>", "</answer>", "<answer", "/answer>", "<>"),
    *(
        "0",
        "1",
        "2",
        "3.5",
        "1,200",
        "3,5",
        "-2",
        ".5",
        "1e999",
        "-1e-999",
        "1e5",
        "inf",
        "-inf",
        "nan",
        "1_000",
        "0x1f",
    ),
    *("٣", "３．５", "²", "½", "一", "Ⅻ", "१२", "1\u00a0200", "−4", "9" * 400, "0." + "0" * 400 + "1"),
    *("two", "Twenty-one", "one hundred and", "thousand", "half", "point", "and a half", "minus", "none", "a", "an"),
    *(
        "m",
        "cm",
        "ft",
        "'",
        '"',
        "inches",
        "m²",
        "sq ft",
        "square",
        "meters",
        "to",
        "between",
        "and",
        "-",
        "~",
        "about",
    ),
    *("A", "B.", "(C)", "**D**", "option", "Answer:", "the answer is", "left", "Sink", "trash can", "It is", "?", "!"),
    *(
        " ",
        " ",
        " ",
        "\n",
        "\t",
        "\r\n",
        "\u200b",
        "\ufeff",
        "\x00",
        "\ud800",
        "🪑",
        "e\u0301\u0301",
        ".",
        ",",
        ":",
        "…",
    ),
    *("\\boxed{", "\\frac{7}{2}", "\\text{", "{", "}", "$", "\\(", "\\", "1/0", "7/", "/2", "3 1/2", "±", "+/-", "="),
    *("because", "so", "is closest", "is correct", "I choose", "side", "front-", "or", "not", "dozen", "dm", "quarter"),
    *("\x1b[31m", "\u202e", "\u2028", "<|im_end|>", "А", "ﷺ"),
]
"""What generated responses are glued from."""

Generate = Callable[[int, int], Iterator[str]]
"""(how many, seed) -> responses."""


def generate(number: int, seed: int) -> Iterator[str]:
    """Responses of up to a dozen pieces.

    Args:
        number: how many.
        seed: of the draw.
    """
    draw = random.Random(seed)
    for _ in range(number):
        yield "".join(draw.choices(PIECES, k=draw.randint(0, 12)))


def generate_long(number: int, seed: int) -> Iterator[str]:
    """Responses of 10 MB: a few pieces, over and over.

    Args:
        number: how many.
        seed: of the draw.
    """
    draw = random.Random(seed)
    for _ in range(number):
        motif = "".join(draw.choices(PIECES, k=draw.randint(1, 6)))
        yield draw.choice(PIECES) + motif * (10_000_000 // len(motif)) + draw.choice(PIECES)
