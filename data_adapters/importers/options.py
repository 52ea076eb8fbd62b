"""Lettered options: as a list, by letter, or within the question's text; and the letter that an answer means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Options = tuple[str, ...]
"""``A. chair``, ..."""

_LETTERED = re.compile(r"(?:[-*•][ \t]+)?\**[(\[]?([A-Za-z])(?:[\])．、.:]|[ \t]-(?=[ \t]))\**\s*(\S.*)", re.DOTALL)
"""``A. chair``, ``(a) chair``, ``- **A:** chair``, ``A - chair``."""

_HEADING = re.compile(r"(?:the )?(?:options|choices|select from|candidates)[ \t]*(?:are)?[ \t]*[:.]?", re.IGNORECASE)
_INLINE = re.compile(r"(?:^|(?<=[\s,;?:.]))\(?([A-Z])[.):][ \t]*(?=\S)")


def read_options(value: Any) -> Options:
    """Options as ``A. chair``, whether they come with letters or without, as a list or by letter.

    Args:
        value: of a column.

    Raises:
        ValueError: one of them is no text.
    """
    if isinstance(value, dict):
        value = [f"{letter}. {text}" for letter, text in value.items() if text is not None]
    if isinstance(value, str):
        value = split_options(f"\n{value}")[1]
    if not isinstance(value, list | tuple):
        return ()
    if not all(isinstance(option, str | int | float) and str(option).strip() for option in value):
        raise ValueError(f"options must be texts, got {value!r:.80}")
    texts = [str(option).strip() for option in value]
    lettered = [_LETTERED.fullmatch(text) for text in texts]
    if all(lettered):
        return tuple(f"{match[1].upper()}. {match[2].strip()}" for match in lettered if match)
    return tuple(f"{chr(ord('A') + place)}. {text}" for place, text in enumerate(texts))


def split_options(text: str) -> tuple[str, Options]:
    """A question's text without the options that stand in it, and those, lettered from A on.

    Args:
        text: the question; options on lines of their own, or one after the other in its last line.
    """
    lines = text.split("\n")
    return _own_lines(lines) or _one_line(lines) or (text, ())


def _own_lines(lines: Sequence[str]) -> tuple[str, Options] | None:
    """Options that have a line each, blank lines between them or not."""
    options: list[str] = []
    start = end = 0
    for place, line in enumerate(lines):
        heading = _HEADING.match(line.strip())
        match = _LETTERED.fullmatch(line.strip()[heading.end() if heading else 0 :].strip())
        if match and match[1].upper() == chr(ord("A") + len(options)) and (not options or _blank(lines[end:place])):
            start, end = (start if options else place), place + 1
            options.append(f"{match[1].upper()}. {match[2].strip()}")
        elif len(options) < 2 and line.strip():
            options = []
    if len(options) < 2:
        return None
    return _without_heading(lines[:start], lines[end:]), tuple(options)


def _blank(lines: Sequence[str]) -> bool:
    return not any(line.strip() for line in lines)


def _one_line(lines: Sequence[str]) -> tuple[str, Options] | None:
    """``Options: A. chair B. bed``, or behind a question mark."""
    for place, line in enumerate(lines):
        marks = list(_INLINE.finditer(line))
        first = next((i for i, mark in enumerate(marks) if mark[1] == "A"), None)
        if first is None:
            continue
        marks = [mark for i, mark in enumerate(marks[first:]) if mark[1] == chr(ord("A") + i)]
        before = line[: marks[0].start()].rstrip()
        if len(marks) < 2 or not (not before or before.endswith(("?", ":")) or _HEADING.search(before)):
            continue
        ends = [mark.start() for mark in marks[1:]] + [len(line)]
        options = (f"{m[1]}. {_bare(line[m.end() : end])}" for m, end in zip(marks, ends, strict=True))
        return _without_heading([*lines[:place], before], lines[place + 1 :]), tuple(options)
    return None


def _bare(option: str) -> str:
    """Without what joins it to the next one."""
    return option.strip(" \t,;").removesuffix(" or").removesuffix(" and").rstrip(" \t,;")


def _without_heading(before: Sequence[str], after: Sequence[str]) -> str:
    text = "\n".join(before).rstrip()
    head, _, last = text.rpartition("\n")
    if _HEADING.fullmatch(last.strip()):
        text = head
    elif heading := re.search(r"(?<=[?.!:])\s*(?:options|choices)\s*:$", text[-40:], re.IGNORECASE):
        text = text[: len(text) - len(heading.group())]
    return "\n".join(part for part in (text.rstrip(), "\n".join(after).strip()) if part)


def letter_of(answer: str, options: Options) -> str:
    """The letter that an answer means: a letter, an option, or an option's words; else the answer itself.

    Args:
        answer: the truth as the file gives it.
        options: of the question.
    """
    letter, words = _parted(answer.strip())
    meant = [option for option in options if words is None or option[3:].casefold() == words.casefold()]
    if letter is None:
        return meant[0][0] if meant else answer
    return letter.upper() if words is None or any(o[0] == letter.upper() for o in meant) else answer


def _parted(answer: str) -> tuple[str | None, str | None]:
    """Letter and words of ``B``, ``(b) bed`` or ``bed``."""
    bare = re.fullmatch(r"\W*([A-Za-z])\W*", answer)
    if bare:
        return bare[1], None
    lettered = re.fullmatch(r"\(?([A-Za-z])[.):]\s*(\S.*)", answer, re.DOTALL)
    return (lettered[1], lettered[2].strip()) if lettered else (None, answer)
