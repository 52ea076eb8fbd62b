"""The benchmark's own extractions, to the bit: VSI-Bench's, and lmms-eval's for the same benchmark.

`official`   the evaluation code of arXiv 2412.14171 (vision-x-nyu/thinking-in-space): the first piece before a space,
             without trailing full stops.
`lmms_eval`  `tasks/vsibench/utils.py` of EvolvingLMMs-Lab/lmms-eval at 75571cfe, since July 2026: a number is the
             first one anywhere in the response, in digits or words; letters and words are read as by `official`.

    response               kind     official               lmms_eval
    "A. chair"             choice   A                      A
    "(A)"                  choice   (A)                    (A)
    "The answer is A."     choice   The                    The
    "2 chairs"             number   2.0                    2.0
    "There are 2 chairs"   number   None                   2.0
    "2m", "two"            number   None                   2.0
    " 2"                   number   None (empty piece)     2.0
    "twenty-one"           number   None                   21.0
    "one apple, room 2"    number   None                   1.0
    "1,234"                number   None                   1.0 (a thousands separator ends the number)
    "2-3"                  number   None                   2.0
    "2.5e1"                number   25.0                   2.5
    "inf"                  number   inf (scores 0)         None
"""

from __future__ import annotations

import re

from verl_vsi.rewards.answers.number_words import NUMBER_WORDS, add_up

_DIGITS = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"[a-z]+")


def official(text: str, kind: str, **_: object) -> float | str | None:
    """The first piece, as a float for numbers (None where Python can't read it as one).

    Args:
        text: the whole response.
        kind: `number`, `word` or `choice`.
    """
    piece = first_piece(text)
    if kind != "number":
        return piece
    try:
        return float(piece)
    except ValueError:
        return None


def lmms_eval(text: str, kind: str, **_: object) -> float | str | None:
    """The first number of the text, or its first piece where no number is asked for.

    Args:
        text: the whole response.
        kind: `number`, `word` or `choice`.
    """
    return first_number(text) if kind == "number" else first_piece(text)


def first_piece(text: str) -> str:
    """What stands before the first space, trailing full stops and then white space taken off."""
    return text.split(" ", 1)[0].rstrip(".").strip()


def first_number(text: str) -> float | None:
    """Whichever stands first: a run of digits, or a run of number words (`and` may join them)."""
    text = text.strip().lower()
    digits = _DIGITS.search(text)
    end = digits.start() if digits else len(text)
    start = next((word.start() for word in _WORD.finditer(text, 0, end) if word.group() in NUMBER_WORDS), None)
    if start is not None:
        return add_up(_number_words(text, start))
    return float(digits.group()) if digits else None


def _number_words(text: str, start: int) -> list[str]:
    """The number words from `start` on, up to the first word that is neither one nor `and`."""
    run: list[str] = []
    for word in _WORD.finditer(text, start):
        if word.group() in NUMBER_WORDS:
            run.append(word.group())
        elif word.group() != "and":
            break
    return run
