"""An order of the batch in which groups stay whole, on a rank and in a mini-batch, and ranks have about the same work.

verl deals the batch out by position: a rank gets a run of rows, and a mini-batch a run of those. Such a run is a cell
here; all cells have the same number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field


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
