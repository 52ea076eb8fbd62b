"""What goes into a Megatron language model: the vision tower in front of it, and padded rows made one packed row.

verl gives a multimodal model padded ids together with the cumulative lengths of the packed batch, because vision
features are put in while the batch is still padded. So the model packs, as Megatron's attention over variable lengths
("thd") wants it; the lengths say where each row begins, with whatever alignment verl has chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from verl_vsi.patches.module_buffers import keep_buffers

if TYPE_CHECKING:
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig


def vision_tower(config: Qwen2VLVisionConfig, dtype: torch.dtype) -> nn.Module:
    """Hugging Face's vision tower of a Qwen2-VL, whole on every tensor-parallel rank.

    Args:
        config: `vision_config` of the checkpoint.
        dtype: of its parameters.
    """
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

    tower = cast("nn.Module", Qwen2VisionTransformerPretrainedModel._from_config(config))
    keep_buffers(tower)
    tower.to(dtype=dtype)
    for parameter in tower.parameters():
        # Megatron's mark: each rank has the whole gradient, so they are averaged over the ranks, not left to drift
        parameter.average_gradients_across_tp_domain = True  # pyright: ignore[reportAttributeAccessIssue]
    return tower


@dataclass(frozen=True)
class RowPacking:
    """Where each token of a padded batch goes in the packed row.

    Attributes:
        source: (N,), index of each token in the flattened (B * S) batch.
        target: (N,), its index in the packed row.
        length: of the packed row, alignment included.
    """

    source: Tensor
    target: Tensor
    length: int

    def __call__(self, padded: Tensor) -> Tensor:
        """Pack (B, S, ...) into (1, length, ...); places that only align stay zero."""
        rows = padded.flatten(0, 1)
        packed = rows.new_zeros(self.length, *rows.shape[1:])
        return packed.index_copy(0, self.target, rows[self.source]).unsqueeze(0)


def row_packing(mask: Tensor, starts: Tensor) -> RowPacking:
    """Say how to pack.

    Args:
        mask: (B, S), true where a token is no padding.
        starts: (B + 1,), where each row begins in the packed row, and the packed length
            (`PackedSeqParams.cu_seqlens_q_padded`).

    Raises:
        ValueError: a row is longer than the place that it has.
    """
    mask = mask.bool()
    lengths = mask.sum(dim=1)
    starts = starts.to(mask.device, torch.int64)
    if len(starts) != len(mask) + 1 or bool((lengths > starts.diff()).any()):
        raise ValueError(
            f"rows of {lengths.tolist()} tokens do not fit the packed batch that begins at {starts.tolist()}: "
            "attention_mask and packed_seq_params come from different batches"
        )
    target = starts[:-1, None] + mask.cumsum(dim=1) - 1
    return RowPacking(mask.flatten().nonzero().flatten(), target[mask], int(starts[-1]))
