"""What a rule set is: a maker of questions a task, how many each scene could give, and the quotas.

And what makers are made of: random draws that never repeat a question, and a right option whose letter goes round.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from string import ascii_uppercase
from typing import TypeVar

from verl_vsi.data_adapters.schema import Question, Scene

T = TypeVar("T")


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
    """How many questions to make; a task that is not named has no limit of that kind.

    Args:
        total: task -> questions over all scenes, shared out evenly as far as scenes have them.
        per_scene: task -> questions a scene.
    """

    total: Mapping[str, int] = field(default_factory=dict)
    per_scene: Mapping[str, int] = field(default_factory=dict)

    def shares(self, task: str, capacities: list[int]) -> list[int]:
        """Questions of each scene: never above its capacity, the total met where it can be.

        Args:
            task: whose quota.
            capacities: how many each scene could give.
        """
        limit = self.per_scene.get(task)
        capped = capacities if limit is None else [min(c, limit) for c in capacities]
        total = self.total.get(task)
        return capped if total is None else share_out(total, capped)


def share_out(total: int, capacities: list[int]) -> list[int]:
    """Give every scene the same, scenes with less all they have; the remainder goes to the first with room left.

    Args:
        total: to share out.
        capacities: how many each scene could give.

    Example:
        >>> share_out(7, [1, 5, 5])
        [1, 3, 3]
    """
    shares, remainder = [0] * len(capacities), min(total, sum(capacities))
    unfilled = [i for i, c in enumerate(capacities) if c > 0]
    while remainder and unfilled:
        step = max(1, remainder // len(unfilled))
        for i in unfilled:
            portion = min(step, capacities[i] - shares[i], remainder)
            shares[i] += portion
            remainder -= portion
        unfilled = [i for i in unfilled if shares[i] < capacities[i]]
    return shares


@dataclass(frozen=True)
class RuleSet:
    """A way to make questions.

    Args:
        name: how it is chosen, e.g. ``paper``.
        data_source: first part of a row's data source, e.g. ``vsi100k``.
        tasks: task name -> its maker.
        quotas: how many questions, unless the user says otherwise.
    """

    name: str
    data_source: str
    tasks: Mapping[str, TaskRule]
    quotas: Quotas = field(default_factory=Quotas)


PATIENCE, PATIENCE_EACH = 30, 5
"""Fruitless draws in a row after which a scene has nothing more to give, and so many more for each it has given."""


def draw_distinct(
    attempt: Callable[[int], Question | None], limit: int, key: Callable[[Question], Hashable]
) -> list[Question]:
    """Up to `limit` questions whose keys differ.

    Args:
        attempt: given how many there are so far, draws one more, or None where filters reject it.
        limit: how many at most.
        key: what makes two questions the same.
    """
    return list(_distinct(attempt, limit, key))


def _distinct(
    attempt: Callable[[int], Question | None], limit: int, key: Callable[[Question], Hashable]
) -> Iterator[Question]:
    keys: set[Hashable] = set()
    fruitless = 0
    while len(keys) < limit and fruitless < PATIENCE + PATIENCE_EACH * len(keys):
        question = attempt(len(keys))
        if question is None or key(question) in keys:
            fruitless += 1
            continue
        fruitless = 0
        keys.add(key(question))
        yield question


def place_right(right: T, wrong: Sequence[T], place: int, rng: Random) -> list[T]:
    """Options with the right one in a place of its own.

    Args:
        right: the answer.
        wrong: the others, which are shuffled.
        place: where the right one comes; wraps around.
        rng: shuffles.
    """
    options = rng.sample(wrong, len(wrong))
    options.insert(place % (len(wrong) + 1), right)
    return options


def letter_options(options: Sequence[str]) -> tuple[str, ...]:
    """``A. chair``, ``B. table``, ... as the benchmark writes them."""
    return tuple(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
