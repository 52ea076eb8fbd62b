"""The answers that a question itself names: its options, the objects in its brackets, or left and right."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BRACKETS = re.compile(r"\(([^()]*,[^()]*)\)")


def named_choices(question: str, options: Sequence[str], kind: str, truth: str) -> list[str]:
    """What can be chosen from; empty where the question does not say.

    Args:
        question: its text.
        options: ``A. chair``, ... of a lettered question.
        kind: how it is scored; a number is not chosen.
        truth: the answer, by which a list of objects is known from other brackets.
    """
    if options:
        return list(options)
    if kind == "number":
        return []
    brackets = _BRACKETS.search(question)
    names = [name.strip() for name in brackets[1].split(",")] if brackets else []
    if truth in names:
        return names
    return ["left", "right"] if truth in ("left", "right") else []
