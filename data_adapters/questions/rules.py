"""What a rule set is: a maker of questions a task, how many each scene could give, and how many are wanted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from string import ascii_uppercase
from typing import TypeVar

from verl_vsi.data_adapters.schema import Question, Scene

# MERGED Random draws that never repeat a question, and the right option's letter going round.


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


@dataclass(frozen=True)
class Ambiguity:
    """Distances and angles too close to call; zero, as in the paper, keeps every question.

    Args:
        distance: metres by which the nearest object must be nearer than the second nearest.
        angle: degrees that a left-or-right object must be off the line of sight, ahead or behind.
    """

    distance: float = 0.0
    angle: float = 0.0


Maker = Callable[[Scene, int, Random, Ambiguity], list[Question]]
"""(scene, at most so many, random numbers, margins) -> different questions in random order, answers balanced."""

Capacity = Callable[[Scene], int]
"""How many different questions the scene could give before margins and filters."""


@dataclass(frozen=True)
class TaskRule:
    """One task of a rule set: who makes its questions, and how many there could be in a scene."""

    make: Maker
    capacity: Capacity


@dataclass(frozen=True)
class Quotas:
    """How many questions are wanted; a task that is not named has no limit of that kind.

    Args:
        total: task -> questions over all scenes, shared out evenly as far as scenes have them.
        per_scene: task -> questions a scene.
    """

    total: Mapping[str, int] = field(default_factory=dict)
    per_scene: Mapping[str, int] = field(default_factory=dict)

    def shares(self, task: str, capacities: list[int]) -> list[int]:
        """Questions wanted from each scene: never above its capacity, the total met where it can be."""
        limit = self.per_scene.get(task)
        capped = capacities if limit is None else [min(c, limit) for c in capacities]
        total = self.total.get(task)
        return capped if total is None else share_out(total, capped)


def share_out(total: int, capacities: list[int]) -> list[int]:
    """Give every scene the same, scenes with less all they have; the remainder goes to the first with room left.

    Example:
        >>> share_out(7, [1, 5, 5])
        [1, 3, 3]
    """
    shares, left = [0] * len(capacities), min(total, sum(capacities))
    waiting = [i for i, c in enumerate(capacities) if c > 0]
    while left and waiting:
        step = max(1, left // len(waiting))
        for i in waiting:
            given = min(step, capacities[i] - shares[i], left)
            shares[i] += given
            left -= given
        waiting = [i for i in waiting if shares[i] < capacities[i]]
    return shares


@dataclass(frozen=True)
class RuleSet:
    """A way to make questions.

    Args:
        name: how it is chosen, e.g. ``paper``.
        data_source: first part of a row's data source, e.g. ``vsi100k``.
        tasks: task name -> its maker.
        quotas: what is wanted unless the user says otherwise.
    """

    name: str
    data_source: str
    tasks: Mapping[str, TaskRule]
    quotas: Quotas = field(default_factory=Quotas)
