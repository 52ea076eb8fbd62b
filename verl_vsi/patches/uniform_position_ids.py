"""verl 0.9.1: a batch whose sequences all have one length dies in `split_with_sizes`.

Multimodal `position_ids` are (4, L) a sample. TransferQueue stacks a batch of equal L as a nested tensor that is ragged
in dimension 1 (values (B*4, L)); `verl.utils.tensordict_utils.maybe_fix_3d_position_ids` then declares dimension 2 the
ragged one, which is right only for values (4, sum of L). Short answers of one token hit this on GPUs too.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.utils.tensordict_utils"
_FEWEST_CHANNELS = 3  # rotary channels of a multimodal model: time, height, width (and, in verl, text)


def install() -> None:
    """Rebuild such tensors before verl looks at them."""
    on_import(MODULE, _wrap)


def _wrap(tensordict_utils: Any) -> None:
    upstream = tensordict_utils.maybe_fix_3d_position_ids

    @wraps(upstream)
    def maybe_fix_3d_position_ids(data: Any) -> None:
        position_ids = data["position_ids"] if "position_ids" in data.keys() else None  # noqa: SIM118 (a TensorDict)
        if position_ids is not None and is_ragged_in_channels(position_ids):
            samples = list(stacked(position_ids).unbind(0))
            data["position_ids"] = tensordict_utils.nested_tensor_from_tensor_list(samples)
        else:
            upstream(data)

    tensordict_utils.maybe_fix_3d_position_ids = maybe_fix_3d_position_ids


def is_ragged_in_channels(position_ids: Any) -> bool:
    """Whether a nested tensor's offsets count rows of (B*C, L) values, instead of positions of (C, sum of L) values."""
    if not position_ids.is_nested or position_ids.dim() != 3:
        return False
    values, offsets = position_ids.values(), position_ids.offsets()
    batch, rows = offsets.numel() - 1, values.shape[0]
    return values.dim() == 2 and int(offsets[-1]) == rows and rows >= _FEWEST_CHANNELS * batch


def stacked(position_ids: Any) -> Any:
    """The same positions as one dense tensor (B, C, L); `position_ids` is a nested tensor."""
    values, batch = position_ids.values(), position_ids.offsets().numel() - 1
    return values.reshape(batch, -1, values.shape[1])
