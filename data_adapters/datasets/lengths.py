"""Prompt lengths by arithmetic: text tokenised once, video tokens from the frame index, no pixel read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.frames import FrameInfo

_BATCH = 1024


def tokenize(processor: Any, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    """(L,) token ids of each text, every video still one placeholder; equal texts are tokenised once.

    Args:
        processor: a Hugging Face processor.
        texts: rendered by the chat template.
    """
    distinct = list(dict.fromkeys(texts))
    ids: dict[str, NDArray[np.int32]] = {}
    for start in range(0, len(distinct), _BATCH):
        batch = distinct[start : start + _BATCH]
        encoded = processor.tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        ids.update(zip(batch, (np.asarray(e, dtype=np.int32) for e in encoded), strict=True))
    return [ids[text] for text in texts]


def check_sizes(processor: Any, infos: Iterable[FrameInfo], mm_kwargs: Mapping[str, Any]) -> None:
    """See that the processor takes the stored frames as they are: a resize of its own would change tokens and pixels.

    Asks the processor itself, with one black pair of frames a size.

    Args:
        processor: a Hugging Face processor.
        infos: index entries of the stored frames.
        mm_kwargs: what verl hands to the processor with every call.

    Raises:
        ValueError: it would resize them; says to what, and which settings disagree.
    """
    for height, width in sorted({info.shape[1:] for info in infos}):
        grid = _grid(processor, height, width, mm_kwargs)
        patch = processor.video_processor.patch_size
        if (grid[1] * patch, grid[2] * patch) != (height, width):
            bounds = processor.video_processor.size
            raise ValueError(
                f"stored frames are {height}x{width}, but the model's processor would resize them to "
                f"{grid[1] * patch}x{grid[2] * patch} (its pixel bounds: {bounds}, patch {patch}); set "
                "vsi.frames.min_pixels and max_pixels within these bounds, or +data.mm_processor_kwargs.do_resize=False"
            )


def _grid(processor: Any, height: int, width: int, mm_kwargs: Mapping[str, Any]) -> tuple[int, int, int]:
    import torch

    black = torch.zeros((2, 3, height, width), dtype=torch.uint8)
    kwargs = {k: v for k, v in mm_kwargs.items() if k != "sampling_rate"}
    out = processor.video_processor(videos=[black], return_tensors="pt", do_sample_frames=False, **kwargs)
    t, h, w = out["video_grid_thw"][0].tolist()
    return t, h, w
