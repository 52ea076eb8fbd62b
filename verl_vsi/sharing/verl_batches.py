"""verl's batches as shared passes take them: rollouts, micro-batches of whole groups, what prompts show, what is asked.

Nothing here knows which engine of verl's computes the passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_name

from verl_vsi.sharing.batching import split, token_cost
from verl_vsi.sharing.log_probs import OLD_IS_CURRENT, LogProbHead
from verl_vsi.sharing.packing import PackedBatch, Rollout
from verl_vsi.sharing.vision import FeatureCache, Visuals, visuals_of

if TYPE_CHECKING:
    from tensordict import TensorDict

_ROTARY_AXES = 3  # time, height, width


def rollouts_of(batch: TensorDict) -> list[Rollout]:
    """The rows of a batch (`input_ids`, `prompts`, `position_ids` nested (B, j), `uid`)."""
    ids = batch["input_ids"].unbind(0)
    prompt_lengths = batch["prompts"].offsets().diff().tolist()  # pyright: ignore[reportAttributeAccessIssue]
    positions = _positions(batch["position_ids"], [row.numel() for row in ids])
    uids = [getattr(uid, "data", uid) for uid in batch["uid"]]
    return [Rollout(*row) for row in zip(ids, positions, prompt_lengths, uids, strict=True)]


def _positions(nested: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Rotary positions (3, L) a row, out of (4, L) with the text's first, (3, L), or (L,) for text models."""
    values = nested.values()
    rows = values.split(list(lengths), dim=-1)
    if values.dim() == 1:
        return [row.expand(_ROTARY_AXES, -1) for row in rows]
    return [row[-_ROTARY_AXES:] for row in rows]


def prepare_micro_batches(
    batch: TensorDict, dp_group: Any, warn: Callable[[str], None]
) -> tuple[list[TensorDict], list[list[int]]]:
    """Cut a batch, in place of verl's function of this name.

    Args:
        batch: one rank's, with verl's limits of rows or tokens; marked as verl marks its dynamic batches, because verl
            puts rows back in order only after these.
        dp_group: data-parallel ranks, which must have equally many micro-batches.
        warn: takes a sentence where the limit cuts groups.

    Returns:
        Micro-batches, and the row numbers of each.
    """
    rollouts = rollouts_of(batch)
    dynamic = tu.get_non_tensor_data(batch, "use_dynamic_bsz", default=True)
    cost = token_cost(rollouts) if dynamic else len
    limit = batch["max_token_len_per_gpu"] if dynamic else batch["micro_batch_size_per_gpu"]
    indices = split(rollouts, cost, limit)
    indices = split(rollouts, cost, limit, at_least=max_over_ranks(len(indices), dp_group))
    groups = len({rollout.uid for rollout in rollouts})
    pieces = sum(len({rollouts[row].uid for row in index}) for index in indices)
    if pieces > groups:
        warn(
            f"{groups} groups were cut into {pieces} by the micro-batch limit {limit}, and each piece computes its "
            "prompt anew: raise the limit (rows: a multiple of rollout.n; tokens: prompt + all answers of a group)"
        )
    tu.assign_non_tensor(batch, use_dynamic_bsz=True)
    return [tu.index_select_tensor_dict(batch, index) for index in indices], indices


def visuals_of_batch(
    batch: TensorDict, packed: PackedBatch, model_config: Any, *, cache: FeatureCache | None, dp_group: Any
) -> Visuals:
    """What the prompts of a micro-batch show, each group's once.

    Args:
        batch: with `multi_modal_inputs`, where it shows anything.
        packed: the same batch.
        model_config: verl's `HFModelConfig`: its processor makes patches of stored videos.
        cache: where features are remembered, for a frozen tower.
        dp_group: ranks that call the tower together.
    """
    inputs = batch["multi_modal_inputs"] if "multi_modal_inputs" in batch.keys() else None  # noqa: SIM118
    prompts = [inputs[group[0]] for group in packed.groups] if inputs is not None else []
    vision, processor = model_config.hf_config.vision_config, model_config.get_processor()
    return Visuals(
        items=[item for prompt in prompts for item in visuals_of(getattr(prompt, "data", prompt), processor)],
        channels=vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
        device=packed.ids.device,
        cache=cache,
        on_any_rank=lambda flag: bool(max_over_ranks(int(flag), dp_group)),
    )


def log_prob_head_of(batch: TensorDict) -> LogProbHead:
    """What a batch asks to be computed at answer positions."""
    temperature: Any = tu.get_non_tensor_data(batch, "temperature", default=1.0)
    if tu.get_non_tensor_data(batch, "calculate_entropy", default=False):
        return LogProbHead(temperature, "loss")
    return LogProbHead(temperature, "metric" if tu.get_non_tensor_data(batch, OLD_IS_CURRENT, default=False) else None)


def max_over_ranks(count: int, group: Any) -> int:
    """The largest count on any rank.

    Args:
        count: this rank's.
        group: the ranks; None for this one alone.
    """
    if group is None or not dist.is_initialized() or dist.get_world_size(group) == 1:
        return count
    largest = torch.tensor([count], device=get_device_name())
    dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    return int(largest)
