"""Micro-batches of whole groups.

A micro-batch's cost is what a shared pass really computes: tokens after packing for verl's dynamic batches
(`max_token_len_per_gpu`), rows for its fixed ones (`micro_batch_size_per_gpu`). A group over the limit is cut, and each
piece computes the prompt anew: the numbers stay the same, the work grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from verl_vsi.engine.plan import Row, group_rows, packed_tokens

Rows = list[int]
Cost = Callable[[Rows], int]


def token_cost(rows: Sequence[Row]) -> Cost:
    """Packed tokens of rows that share a prompt."""
    return lambda group: packed_tokens(rows, [group])


def split(rows: Sequence[Row], cost: Cost, limit: int, at_least: int = 1) -> list[Rows]:
    """Row numbers of each micro-batch.

    Args:
        rows: the batch.
        cost: cost of rows that share a prompt.
        limit: cost that a micro-batch may have.
        at_least: micro-batches wanted, where other ranks have more than this one.

    Raises:
        ValueError: one row alone is over the limit, or there are fewer rows than micro-batches wanted.
    """
    pieces = [piece for group in group_rows(rows) for piece in cut(group, cost, limit)]
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
