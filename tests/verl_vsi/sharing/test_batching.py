"""Groups stay whole on ranks, in mini-batches and in micro-batches, as far as the limits allow."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.sharing.batching import count_cut_groups, split, token_cost, whole_groups
from verl_vsi.sharing.packing import Rollout


def order_of(uids: str, cells: int, answers: list[int] | None = None) -> tuple[str, list[int]]:
    """Uids in their new order, and the order."""
    order = whole_groups(uids, [100] * len(uids), answers or [10] * len(uids), cells)
    return "".join(uids[row] for row in order), order


@pytest.mark.parametrize(
    ("uids", "cells", "cut"),
    [
        ("abab", 1, 0),  # completion order, one rank
        ("abcabcabcabc", 3, 0),  # a group a cell
        ("ababcdcd", 2, 0),  # two groups a cell
        ("aabbcc", 2, 1),  # three questions on two ranks: one is cut
        ("aaaaaa", 3, 1),  # one question on three ranks
        ("aaabbbccd", 3, 1),  # a group lost a rollout, verl added a row of padding
        ("aabbccdd", 8, 4),  # a row a rank
    ],
)
def test_as_few_groups_as_possible_are_cut(uids: str, cells: int, cut: int) -> None:
    ordered, _ = order_of(uids, cells)
    assert sorted(ordered) == sorted(uids)
    assert count_cut_groups(ordered, cells) <= cut


def test_cells_have_about_the_same_work() -> None:
    uids = "aabbccdd"
    answers = [300, 300, 10, 10, 300, 300, 10, 10]
    _, order = order_of(uids, 2, answers)
    halves = order[:4], order[4:]
    assert [sum(answers[row] for row in half) for half in halves] == [620, 620]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(1, 4), st.randoms())
def test_every_row_comes_once(sizes: list[int], cells: int, random: object) -> None:
    uids = [number for number, size in enumerate(sizes) for _ in range(size)]
    uids += [-1] * (-len(uids) % cells)
    order = whole_groups(uids, [7] * len(uids), [3] * len(uids), cells)
    assert sorted(order) == list(range(len(uids)))
    if cells == 1:
        assert count_cut_groups([uids[row] for row in order], 1) == 0


def rollouts(*groups: tuple[int, ...], prompt: int = 100) -> list[Rollout]:
    """Rollouts of groups whose answers have these lengths."""
    return [
        Rollout(torch.arange(prompt + answer), torch.zeros(3, prompt + answer), prompt, uid)
        for uid, answers in enumerate(groups)
        for answer in answers
    ]


@pytest.mark.parametrize(
    ("limit", "batches"),
    [
        (300, [[0, 1, 2, 3, 4]]),  # 100 + 27 and 100 + 18: everything
        (200, [[0, 1, 2], [3, 4]]),  # a group each
        (127, [[0, 1, 2], [3, 4]]),  # exactly the larger group
        (120, [[0, 1], [2], [3, 4]]),  # the larger group is cut
    ],
)
def test_a_limit_in_tokens_counts_a_prompt_once(limit: int, batches: list[list[int]]) -> None:
    batch = rollouts((10, 10, 10), (10, 10))
    assert sorted(split(batch, token_cost(batch), limit)) == batches


def test_a_limit_in_rows() -> None:
    batch = rollouts((10, 10, 10), (10, 10))
    assert sorted(split(batch, len, 3)) == [[0, 1, 2], [3, 4]]


def test_other_ranks_may_have_more() -> None:
    batch = rollouts((10, 10, 10), (10, 10))
    assert sorted(map(sorted, split(batch, len, 5, at_least=4))) == [[0], [1, 2], [3], [4]]


def test_fewer_rows_than_micro_batches_are_an_error() -> None:
    batch = rollouts((10,))
    with pytest.raises(ValueError, match="only 1 rows"):
        split(batch, len, 5, at_least=2)


def test_a_sequence_over_the_limit_says_the_way_out() -> None:
    batch = rollouts((10,))
    with pytest.raises(ValueError, match="ppo_max_token_len_per_gpu"):
        split(batch, token_cost(batch), 50)


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(140, 400))
def test_no_micro_batch_is_over_the_limit(lengths: list[list[int]], limit: int) -> None:
    batch = rollouts(*map(tuple, lengths))
    cost = token_cost(batch)
    batches = split(batch, cost, limit)
    assert sorted(row for part in batches for row in part) == list(range(len(batch)))
    for part in batches:
        groups = {batch[row].uid for row in part}
        assert sum(cost([row for row in part if batch[row].uid == uid]) for uid in groups) <= limit
