"""Random draws that never repeat a question, and the right option's letter going round."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from random import Random
from string import ascii_uppercase
from typing import TypeVar

from verl_vsi.data_adapters.tasks import Question

T = TypeVar("T")

PATIENCE, PATIENCE_EACH = 30, 5
"""Fruitless draws in a row after which a scene has nothing more to give, and so many more for each it has given."""


def different(
    attempt: Callable[[int], Question | None], limit: int, key: Callable[[Question], Hashable]
) -> list[Question]:
    """Up to `limit` questions whose keys differ.

    Args:
        attempt: given how many there are so far, draws one more, or None where filters reject it.
        limit: how many are wanted.
        key: what makes two questions the same.
    """
    return list(_different(attempt, limit, key))


def _different(
    attempt: Callable[[int], Question | None], limit: int, key: Callable[[Question], Hashable]
) -> Iterator[Question]:
    seen: set[Hashable] = set()
    fruitless = 0
    while len(seen) < limit and fruitless < PATIENCE + PATIENCE_EACH * len(seen):
        question = attempt(len(seen))
        if question is None or key(question) in seen:
            fruitless += 1
            continue
        fruitless = 0
        seen.add(key(question))
        yield question


def placed(right: T, wrong: Sequence[T], place: int, rng: Random) -> list[T]:
    """The wrong ones shuffled, the right one at `place`, which wraps around."""
    options = rng.sample(wrong, len(wrong))
    options.insert(place % (len(wrong) + 1), right)
    return options


def lettered(options: Sequence[str]) -> tuple[str, ...]:
    """``A. chair``, ``B. table``, ... as the benchmark writes them."""
    return tuple(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
