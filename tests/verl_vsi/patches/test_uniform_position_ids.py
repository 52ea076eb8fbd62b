"""Position ids of a batch in which all sequences have one length, and the bug that they meet in verl."""

from typing import Any

import pytest

pytest.importorskip("verl")

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils

UPSTREAM: Any = tensordict_utils.maybe_fix_3d_position_ids.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
OURS: Any = tensordict_utils.maybe_fix_3d_position_ids


def samples(*lengths: int, channels: int = 4) -> list[torch.Tensor]:
    """One (channels, L) tensor a sequence, all values different."""
    return [torch.arange(channels * length).reshape(channels, length) + 1000 * i for i, length in enumerate(lengths)]


def as_transfer_queue_stacks(parts: list[torch.Tensor]) -> TensorDict:
    """TransferQueue's own stacking of a field; equal lengths become ragged in dimension 1."""
    return TensorDict(
        {"position_ids": torch.nested.as_nested_tensor(parts, layout=torch.jagged)}, batch_size=[len(parts)]
    )


def as_verl_unpickles(parts: list[torch.Tensor]) -> TensorDict:
    """Values (C, sum of L): what the upstream function is for."""
    nested = tensordict_utils.nested_tensor_from_tensor_list(parts)
    return TensorDict({"position_ids": nested}, batch_size=[len(parts)])


def unbound(data: TensorDict) -> list[torch.Tensor]:
    return list(data["position_ids"].unbind(0))


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_upstream_still_breaks_on_equal_lengths() -> None:
    """When this fails, verl has fixed it: remove verl_vsi/patches/uniform_position_ids.py."""
    parts = samples(7, 7)
    data = as_transfer_queue_stacks(parts)
    UPSTREAM(data)
    with pytest.raises(RuntimeError):  # torch words it differently for every shape
        unbound(data)


@pytest.mark.parametrize(
    "lengths",
    [(7, 7), (5,), (1, 1, 1), (8, 8), (4, 4), (12, 12, 12), (32,) * 8],
    ids=["pair", "one", "tokens", "square of 4 x 2", "as long as channels", "square of 4 x 3", "square of 4 x 8"],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_equal_lengths_come_through(lengths: tuple[int, ...], channels: int) -> None:
    parts = samples(*lengths, channels=channels)
    data = as_transfer_queue_stacks(parts)
    OURS(data)
    OURS(data)  # verl calls it in three places
    assert same(unbound(data), parts)
    position_ids: Any = data["position_ids"]
    assert position_ids._ragged_idx == 2


@pytest.mark.parametrize("lengths", [(7, 9), (3, 1, 2), (4,), (2, 2), (1, 1, 1, 1)])
def test_batches_that_verl_handles_are_left_as_they_are(lengths: tuple[int, ...]) -> None:
    parts = samples(*lengths)
    data = as_verl_unpickles(parts)
    OURS(data)
    assert same(unbound(data), parts)


def test_text_only_batches_pass() -> None:
    data = TensorDict({"position_ids": torch.arange(6).reshape(2, 3)}, batch_size=[2])
    OURS(data)
    assert torch.equal(data["position_ids"], torch.arange(6).reshape(2, 3))
    OURS(TensorDict({"input_ids": torch.ones(2, 3)}, batch_size=[2]))
