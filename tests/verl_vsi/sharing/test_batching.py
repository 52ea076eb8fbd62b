"""Micro-batches hold whole groups as far as the limit allows, and their limit counts what is computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.sharing.batching import split, token_cost
from verl_vsi.sharing.packing import Rollout


def rows(*groups: tuple[int, ...], prompt: int = 100) -> list[Rollout]:
    """Rows of groups whose answers have these lengths."""
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
    batch = rows((10, 10, 10), (10, 10))
    assert sorted(split(batch, token_cost(batch), limit)) == batches


def test_a_limit_in_rows() -> None:
    batch = rows((10, 10, 10), (10, 10))
    assert sorted(split(batch, len, 3)) == [[0, 1, 2], [3, 4]]


def test_other_ranks_may_have_more() -> None:
    batch = rows((10, 10, 10), (10, 10))
    assert sorted(map(sorted, split(batch, len, 5, at_least=4))) == [[0], [1, 2], [3], [4]]


def test_fewer_rows_than_micro_batches_are_an_error() -> None:
    batch = rows((10,))
    with pytest.raises(ValueError, match="only 1 rows"):
        split(batch, len, 5, at_least=2)


def test_a_sequence_over_the_limit_says_the_way_out() -> None:
    batch = rows((10,))
    with pytest.raises(ValueError, match="ppo_max_token_len_per_gpu"):
        split(batch, token_cost(batch), 50)


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(140, 400))
def test_no_micro_batch_is_over_the_limit(lengths: list[list[int]], limit: int) -> None:
    batch = rows(*map(tuple, lengths))
    cost = token_cost(batch)
    batches = split(batch, cost, limit)
    assert sorted(row for part in batches for row in part) == list(range(len(batch)))
    for part in batches:
        groups = {batch[row].uid for row in part}
        assert sum(cost([row for row in part if batch[row].uid == uid]) for uid in groups) <= limit
