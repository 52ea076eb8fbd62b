"""VSI-Bench's own extraction: the first piece before a space, without trailing full stops.

Source: the evaluation code of arXiv 2412.14171 (vision-x-nyu/thinking-in-space), reproduced to the bit.

    response            letter    number
    "A. chair"          A
    "(A)"               (A)
    "The answer is A."  The
    "2 chairs"                    2.0
    "2m"                          None
    " 2"                          None   (the first piece is empty)
    "two"                         None
    "2.5e1"                       25.0
    "inf"                         inf    (scores 0)
"""

from __future__ import annotations

import re

from verl_vsi.rewards.answers.quantities import NUMBER_WORDS, add_up

# MERGED lmms-eval's extraction since July 2026: the first number, in digits or words, anywhere in the response.
#
# Source: `tasks/vsibench/utils.py` of EvolvingLMMs-Lab/lmms-eval at 75571cfe, behaviour reproduced to the bit. Letters
# and words are read as in VSI-Bench's own code.
#
#     response                number
#     "There are 2 chairs"    2.0
#     "twenty-one"            21.0
#     "one apple, room 2"     1.0
#     "1,234"                 1.0    (a thousands separator ends the number)
#     "2.5e1"                 2.5
#     "2-3"                   2.0
#     "inf"                   None


_DIGITS = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"[a-z]+")


def lmms_eval(text: str, kind: str, **_: object) -> float | str | None:
    """The first number of the text, or its first piece where no number is asked for."""
    return first_number(text) if kind == "number" else first_piece(text)


def first_number(text: str) -> float | None:
    """Whichever stands first: a run of digits, or a run of number words (`and` may join them)."""
    text = text.strip().lower()
    digits = _DIGITS.search(text)
    end = digits.start() if digits else len(text)
    start = next((word.start() for word in _WORD.finditer(text, 0, end) if word.group() in NUMBER_WORDS), None)
    if start is not None:
        return add_up(_run(text, start))
    return float(digits.group()) if digits else None


def _run(text: str, start: int) -> list[str]:
    """The number words from `start` on, up to the first word that is neither one nor `and`."""
    run: list[str] = []
    for word in _WORD.finditer(text, start):
        if word.group() in NUMBER_WORDS:
            run.append(word.group())
        elif word.group() != "and":
            break
    return run


def first_piece(text: str) -> str:
    """What stands before the first space, trailing full stops and then white space taken off."""
    return text.split(" ", 1)[0].rstrip(".").strip()


def official(text: str, kind: str, **_: object) -> float | str | None:
    """The first piece, as a float for numbers (None where Python can't read it as one)."""
    piece = first_piece(text)
    if kind != "number":
        return piece
    try:
        return float(piece)
    except ValueError:
        return None
