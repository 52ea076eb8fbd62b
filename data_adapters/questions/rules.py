"""What a rule set is: a maker of questions a task, how many each scene could give, and how many are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from verl_vsi.data_adapters.scenes import Scene
from verl_vsi.data_adapters.tasks import Question


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
class Task:
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
    tasks: Mapping[str, Task]
    quotas: Quotas = field(default_factory=Quotas)
