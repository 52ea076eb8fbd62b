"""Prompt lengths by arithmetic: text tokenised once, video tokens from the frame index, no pixel read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verl_vsi.data_adapters.frames import FrameInfo

_BATCH = 1024


def text_lengths(processor: Any, prompts: Iterable[Sequence[Any]], template_kwargs: Mapping[str, Any]) -> list[int]:
    """Tokens of each chat prompt with every video as one placeholder; equal texts are tokenised once.

    Args:
        processor: a Hugging Face processor with a chat template.
        prompts: messages in structured form.
        template_kwargs: verl's `data.apply_chat_template_kwargs` (and tools).
    """
    texts = [
        processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **template_kwargs)
        for messages in prompts
    ]
    distinct = list(dict.fromkeys(texts))
    lengths: dict[str, int] = {}
    for start in range(0, len(distinct), _BATCH):
        batch = distinct[start : start + _BATCH]
        encoded = processor.tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        lengths.update(zip(batch, map(len, encoded), strict=True))
    return [lengths[text] for text in texts]


def check_sizes(processor: Any, infos: Iterable[FrameInfo], mm_kwargs: Mapping[str, Any]) -> None:
    """See that the processor takes the stored frames as they are: a resize of its own would change tokens and pixels.

    Asks the processor itself, with one black pair of frames a size.

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
