"""The miniature's processor: Qwen2-VL's own, kept at 4 frames of 112x112 pixels, 32 video tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast, Qwen2VLProcessor

FRAMES, SIDE = 4, 112
PATCH, MERGE, TEMPORAL = 14, 2, 2
GRID = (FRAMES // TEMPORAL, SIDE // PATCH, SIDE // PATCH)
"""(t, h, w) patches of a video, as Qwen2-VL's ``video_grid_thw``."""
VIDEO_TOKENS = GRID[0] * GRID[1] * GRID[2] // MERGE**2


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2VLProcessor:
    """Image and video processors that leave 112x112 as it is, with the tokenizer and its chat template."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    pixels: dict[str, Any] = {"min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=tokenizer.chat_template,
    )


def patches(videos: NDArray) -> torch.Tensor:
    """What the video processor makes of `videos`, some hundred times sooner.

    Args:
        videos: (N, FRAMES, SIDE, SIDE, 3) uint8.

    Returns:
        (N * patches, 3 * TEMPORAL * PATCH**2) float32, in Qwen2-VL's order: merged patches lie together.
    """
    import torch
    from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    pixels = torch.from_numpy(videos).float().div_(255)
    pixels = (pixels - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)
    t, h, w = GRID
    parts = pixels.reshape(-1, t, TEMPORAL, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3)
    return parts.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8).reshape(-1, 3 * TEMPORAL * PATCH * PATCH)
