"""Groups kept whole: dealt out to ranks and mini-batches, then cut into micro-batches.

verl deals a batch out by position: a rank gets a run of rows, and a mini-batch a run of those. Such a run is a cell
here; all cells have the same number of rows, and about the same work.

A micro-batch's cost is what a shared pass really computes: tokens after packing for verl's dynamic batches
(`max_token_len_per_gpu`), rows for its fixed ones (`micro_batch_size_per_gpu`). A group over a limit is cut, and each
piece computes the prompt anew: the numbers stay the same, the work grows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from verl_vsi.sharing.packing import Rollout, group_rollouts, packed_tokens

Rows = list[int]
"""Row numbers of a batch."""

Cost = Callable[[Rows], int]
"""Of rows that share a prompt."""


def whole_groups(uids: Sequence[Hashable], prompts: Sequence[int], answers: Sequence[int], cells: int) -> Rows:
    """Row numbers in the order in which verl should have them.

    Groups go to the cell with the least work that has room for all of their rows, the largest first. Where the numbers
    do not work out (a world size that does not divide the questions, a group that lost a rollout), as few groups as
    possible are cut.

    Args:
        uids: group of each row.
        prompts: tokens of each row's prompt.
        answers: tokens of each row's answer.
        cells: ranks times mini-batches; divides the number of rows.
    """
    groups: dict[Hashable, Rows] = {}
    for row, uid in enumerate(uids):
        groups.setdefault(uid, []).append(row)

    def cost(rows: Rows) -> int:
        return prompts[rows[0]] + sum(answers[row] for row in rows)

    filled = [_Cell(len(uids) // cells) for _ in range(cells)]
    too_large: list[Rows] = []
    for rows in sorted(groups.values(), key=lambda rows: (len(rows), cost(rows)), reverse=True):
        if fitting := [cell for cell in filled if cell.room >= len(rows)]:
            min(fitting, key=lambda cell: cell.cost).take(rows, cost(rows))
        else:
            too_large.append(rows)
    for rows in too_large:
        _spread(rows, filled, cost)
    return [row for cell in filled for row in cell.rows]


@dataclass
class _Cell:
    room: int
    cost: int = 0
    rows: Rows = field(default_factory=list)

    def take(self, rows: Rows, cost: int) -> None:
        self.rows += rows
        self.room -= len(rows)
        self.cost += cost


def _spread(rows: Rows, cells: Sequence[_Cell], cost: Cost) -> None:
    """Spread a group over the cells with most room."""
    while rows:
        cell = max(cells, key=lambda cell: cell.room)
        piece, rows = rows[: cell.room], rows[cell.room :]
        cell.take(piece, cost(piece))


def count_cut_groups(uids: Sequence[Hashable], cells: int) -> int:
    """How many groups lie in more than one cell.

    Args:
        uids: group of each row.
        cells: ranks times mini-batches; divides the number of rows.
    """
    size = len(uids) // cells
    cells_of: dict[Hashable, set[int]] = {}
    for row, uid in enumerate(uids):
        cells_of.setdefault(uid, set()).add(row // size)
    return sum(len(numbers) > 1 for numbers in cells_of.values())


def token_cost(rollouts: Sequence[Rollout]) -> Cost:
    """Packed tokens of rows that share a prompt."""
    return lambda rows: packed_tokens(rollouts, [rows])


def split(rollouts: Sequence[Rollout], cost: Cost, limit: int, at_least: int = 1) -> list[Rows]:
    """Row numbers of each micro-batch.

    Args:
        rollouts: the batch.
        cost: `token_cost` of these rollouts, or `len`.
        limit: cost that a micro-batch may have.
        at_least: how many micro-batches there must be, where another rank has more than this one.

    Raises:
        ValueError: one row alone is over the limit, or there are fewer rows than micro-batches.
    """
    pieces = [piece for group in group_rollouts(rollouts) for piece in _cut(group, cost, limit)]
    batches = _first_fit(pieces, cost, limit)
    while len(batches) < at_least:
        batches = _split_largest(batches)
    return [[row for piece in batch for row in piece] for batch in batches]


def _cut(group: Rows, cost: Cost, limit: int) -> list[Rows]:
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


def _first_fit(pieces: Sequence[Rows], cost: Cost, limit: int) -> list[list[Rows]]:
    """Bins for pieces, the largest piece first, each into the first bin that has room."""
    bins: list[list[Rows]] = []
    loads: list[int] = []
    for piece in sorted(pieces, key=cost, reverse=True):
        load = cost(piece)
        number = next((number for number, other in enumerate(loads) if other + load <= limit), None)
        if number is None:
            bins.append([piece])
            loads.append(load)
        else:
            bins[number].append(piece)
            loads[number] += load
    return bins


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
