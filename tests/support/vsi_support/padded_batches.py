"""Random batches of rows padded on the right, for transformers' model and Megatron's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from vsi_support.random_qwen2_vl import CHANNELS, EOS, IMAGE, VIDEO, VISION_END, VISION_START, WORDS

PAD = EOS


@dataclass(frozen=True)
class PaddedBatch:
    """Rows of unequal length, padded on the right."""

    input_ids: Tensor
    """(B, S)"""
    mask: Tensor
    """(B, S), false for padding."""
    vision: dict[str, Tensor]
    """Pixel values and grids, under the names of the processor."""

    @property
    def types(self) -> Tensor:
        """As transformers' processor marks tokens: 0 text, 1 image, 2 video."""
        return (self.input_ids == IMAGE).int() + (self.input_ids == VIDEO).int() * 2


Grid = tuple[int, int, int]
Item = int | tuple[int, Grid]
"""A length of text, or the id of a vision token with a grid in patches."""


def padded_batch(rows: list[list[Item]], *, seed: int = 1) -> PaddedBatch:
    """A batch with random text and random patches.

    Args:
        rows: what each row is made of, in order.
        seed: of text and patches.
    """
    random = torch.Generator().manual_seed(seed)
    sequences = [torch.cat([_ids(item, random) for item in row]) for row in rows]
    input_ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
    lengths = torch.tensor([len(ids) for ids in sequences])
    mask = torch.arange(input_ids.shape[1]) < lengths[:, None]
    vision: dict[str, Tensor] = {}
    for token, patches_key, grids_key in (
        (IMAGE, "pixel_values", "image_grid_thw"),
        (VIDEO, "pixel_values_videos", "video_grid_thw"),
    ):
        grids = [item[1] for row in rows for item in row if not isinstance(item, int) and item[0] == token]
        if grids:
            vision[grids_key] = torch.tensor(grids)
            vision[patches_key] = torch.randn(int(vision[grids_key].prod(-1).sum()), CHANNELS, generator=random)
    return PaddedBatch(input_ids, mask, vision)


def _ids(item: Item, random: torch.Generator) -> Tensor:
    if isinstance(item, int):
        return torch.randint(0, WORDS, (item,), generator=random)
    token, (time, height, width) = item
    return torch.tensor([VISION_START, *[token] * (time * height * width // 4), VISION_END])
