"""Micro-batches of whole groups.

A micro-batch's cost is what a shared pass really computes: tokens after packing for verl's dynamic batches
(`max_token_len_per_gpu`), rows for its fixed ones (`micro_batch_size_per_gpu`). A group over the limit is cut, and each
piece computes the prompt anew: the numbers stay the same, the work grows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from verl_vsi.sharing.packing import Rollout, group_rollouts, packed_tokens

# MERGED An order of the batch in which groups stay whole, on a rank and in a mini-batch, and ranks have about the same work.
#
# verl deals the batch out by position: a rank gets a run of rows, and a mini-batch a run of those. Such a run is a cell
# here; all cells have the same number of rows.


@dataclass
class _Cell:
    room: int
    cost: int = 0
    rows: list[int] = field(default_factory=list)

    def take(self, rows: Sequence[int], cost: int) -> None:
        self.rows += rows
        self.room -= len(rows)
        self.cost += cost


def whole_groups(uids: Sequence[Hashable], prompts: Sequence[int], answers: Sequence[int], cells: int) -> list[int]:
    """Row numbers in the order in which verl should have them.

    Groups go to the cell with the least work that has room for all of their rows, the largest first. Where the numbers
    do not work out (a world size that does not divide the questions, a group that lost a rollout), as few groups as
    possible are cut: each part computes the prompt anew, with the same result.

    Args:
        uids: group of each row.
        prompts: tokens of each row's prompt.
        answers: tokens of each row's answer.
        cells: ranks times mini-batches; divides the number of rows.
    """
    rooms = [_Cell(len(uids) // cells) for _ in range(cells)]
    groups: dict[Hashable, list[int]] = {}
    for row, uid in enumerate(uids):
        groups.setdefault(uid, []).append(row)

    def cost(rows: Sequence[int]) -> int:
        return prompts[rows[0]] + sum(answers[row] for row in rows)

    left = []
    for rows in sorted(groups.values(), key=lambda rows: (len(rows), cost(rows)), reverse=True):
        fitting = [cell for cell in rooms if cell.room >= len(rows)]
        if fitting:
            min(fitting, key=lambda cell: cell.cost).take(rows, cost(rows))
        else:
            left.append(rows)
    for rows in left:
        _fill(rooms, rows, cost)
    return [row for cell in rooms for row in cell.rows]


def _fill(cells: Sequence[_Cell], rows: list[int], cost: Callable[[Sequence[int]], int]) -> None:
    """Spread a group over the cells with most room."""
    while rows:
        cell = max(cells, key=lambda cell: cell.room)
        part, rows = rows[: cell.room], rows[cell.room :]
        cell.take(part, cost(part))


def cut_groups(uids: Sequence[Hashable], cells: int) -> int:
    """How many groups lie in more than one cell."""
    size = len(uids) // cells
    where: dict[Hashable, set[int]] = {}
    for row, uid in enumerate(uids):
        where.setdefault(uid, set()).add(row // size)
    return sum(len(places) > 1 for places in where.values())


Rows = list[int]
Cost = Callable[[Rows], int]


def token_cost(rows: Sequence[Rollout]) -> Cost:
    """Packed tokens of rows that share a prompt."""
    return lambda group: packed_tokens(rows, [group])


def split(rows: Sequence[Rollout], cost: Cost, limit: int, at_least: int = 1) -> list[Rows]:
    """Row numbers of each micro-batch.

    Args:
        rows: the batch.
        cost: cost of rows that share a prompt.
        limit: cost that a micro-batch may have.
        at_least: micro-batches wanted, where other ranks have more than this one.

    Raises:
        ValueError: one row alone is over the limit, or there are fewer rows than micro-batches wanted.
    """
    pieces = [piece for group in group_rollouts(rows) for piece in cut(group, cost, limit)]
    batches = _pack(pieces, cost, limit)
    while len(batches) < at_least:
        batches = _split_largest(batches)
    return [[row for piece in batch for row in piece] for batch in batches]


def cut(group: Rows, cost: Cost, limit: int) -> list[Rows]:
    """A group in as few pieces as the limit allows: itself, mostly."""
    pieces: list[Rows] = [[]]
    for row in group:
        if cost([row]) > limit:
            raise ValueError(
                f"one sequence costs {cost([row])} tokens, but a micro-batch may hold {limit}: raise "
                "actor_rollout_ref.actor.ppo_max_token_len_per_gpu and "
                "actor_rollout_ref.{ref,rollout}.log_prob_max_token_len_per_gpu, or use fewer frames or pixels"
            )
        if cost([*pieces[-1], row]) > limit:
            pieces.append([])
        pieces[-1].append(row)
    return pieces


def _pack(pieces: Sequence[Rows], cost: Cost, limit: int) -> list[list[Rows]]:
    """First fit, largest first."""
    batches: list[list[Rows]] = []
    loads: list[int] = []
    for piece in sorted(pieces, key=cost, reverse=True):
        load = cost(piece)
        place = next((i for i, there in enumerate(loads) if there + load <= limit), None)
        if place is None:
            batches.append([piece])
            loads.append(load)
        else:
            batches[place].append(piece)
            loads[place] += load
    return batches


def _split_largest(batches: Sequence[list[Rows]]) -> list[list[Rows]]:
    largest = max(batches, key=lambda batch: (len(batch), len(batch[0])))
    if len(largest) == 1 and len(largest[0]) == 1:
        raise ValueError(
            f"another rank has more than {len(batches)} micro-batches, but this one has only {len(batches)} rows"
        )
    halves = [[half] for half in _halves(largest[0])] if len(largest) == 1 else _halves(largest)
    return [*(batch for batch in batches if batch is not largest), *halves]


def _halves(items: list[Any]) -> list[list[Any]]:
    half = len(items) // 2
    return [items[:half], items[half:]]
