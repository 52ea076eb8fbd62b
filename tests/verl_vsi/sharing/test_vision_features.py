"""Features reach the tokens that stand for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from verl_vsi.sharing.vision_features import in_reading_order, run_tower

IMAGE, VIDEO = 1, 2

ORDERS = {
    "one kind": ([0, 2, 2, 0], [21, 22]),
    "an image, then a video": ([1, 0, 2, 2], [11, 21, 22]),
    "a video, an image, a video": ([2, 0, 1, 2, 2], [21, 11, 22, 23]),
    "nothing": ([0, 0], []),
}


@pytest.mark.parametrize(("ids", "expected"), ORDERS.values(), ids=ORDERS.keys())
def test_features_follow_each_other_as_their_tokens_do(ids: list[int], expected: list[float]) -> None:
    row = torch.tensor([ids])
    features = {kind: 10 * kind + 1 + torch.arange(ids.count(kind))[:, None] for kind in (IMAGE, VIDEO)}
    places, ordered = in_reading_order(row, features)
    assert places.tolist() == [[token != 0 for token in ids]]
    assert ordered[:, 0].tolist() == expected


class Tower:
    """Gives its first and its second patch."""

    dtype = torch.float32

    def __init__(self, wrap: Any) -> None:
        self.wrap = wrap

    def __call__(self, patches: Tensor, grid_thw: Tensor) -> Any:
        return self.wrap(patches[:1], patches[1:])


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda features, _: features, [[0, 1]]),  # transformers 4
        (lambda features, _: SimpleNamespace(pooler_output=features), [[0, 1]]),  # transformers 5
        (lambda features, deep: SimpleNamespace(pooler_output=features, deepstack_features=[deep]), [[0, 1, 2, 3]]),
        (lambda features, _: SimpleNamespace(pooler_output=features, deepstack_features=None), [[0, 1]]),
    ],
)
def test_a_towers_levels_lie_side_by_side(wrap: Any, expected: list[list[int]]) -> None:
    assert run_tower(Tower(wrap), torch.arange(4.0).view(2, 2), torch.tensor([[1, 1, 2]])).tolist() == expected
