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


def first_piece(text: str) -> str:
    """What stands before the first space, trailing full stops and then white space taken off."""
    return text.split(" ", 1)[0].rstrip(".").strip()


def extract(text: str, kind: str, **_: object) -> float | str | None:
    """The first piece, as a float for numbers (None where Python can't read it as one)."""
    piece = first_piece(text)
    if kind != "number":
        return piece
    try:
        return float(piece)
    except ValueError:
        return None
