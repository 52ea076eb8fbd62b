"""Groups stay whole on ranks and in mini-batches, and ranks have about the same work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.sharing.batching import count_cut_groups, whole_groups


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
    found, _ = order_of(uids, cells)
    assert sorted(found) == sorted(uids)
    assert count_cut_groups(found, cells) <= cut


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
