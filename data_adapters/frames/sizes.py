"""How large: qwen_vl_utils' `smart_resize` and per-video pixel budget, and the same bicubic resize to the bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.frames.spec import FrameSpec

Image = NDArray[np.uint8]

MAX_RATIO = 200
_MODEL_TOKENS = 128000 * 0.9
"""qwen_vl_utils' default for the tokens of one video."""


def frame_size(spec: FrameSpec, height: int, width: int, nframes: int) -> tuple[int, int]:
    """(height, width) of the stored frames, as qwen_vl_utils' `fetch_video` chooses it.

    Args:
        spec: the pixel budget.
        height: of the video, pixels.
        width: of the video, pixels.
        nframes: frames that are taken; they share `spec.total_pixels`.

    Raises:
        ValueError: the frame's shape is too extreme to be resized.
    """
    total = spec.total_pixels if spec.total_pixels is not None else _MODEL_TOKENS * spec.factor**2
    limit = max(min(768 * spec.factor**2, total / nframes * 2), int(spec.min_pixels * 1.05))
    return smart_resize(height, width, spec.factor, spec.min_pixels, min(spec.max_pixels, limit))


def smart_resize(height: int, width: int, factor: int, min_pixels: float, max_pixels: float) -> tuple[int, int]:
    """(height, width), multiples of `factor`, within the pixel bounds, near the aspect ratio (qwen_vl_utils 0.0.14).

    Raises:
        ValueError: one side is over 200 times the other, or a side would vanish.
    """
    if max(height, width) / min(height, width) > MAX_RATIO:
        raise ValueError(f"its frames are {width}x{height}: one side is over {MAX_RATIO} times the other")
    h, w = max(factor, round(height / factor) * factor), max(factor, round(width / factor) * factor)
    if h * w > max_pixels:
        beta = math.sqrt((height * width) / max_pixels)
        h, w = math.floor(height / beta / factor) * factor, math.floor(width / beta / factor) * factor
    elif h * w < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        h, w = math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    if not (h and w):
        raise ValueError(f"its {width}x{height} frames lose a side within {max_pixels:.0f} pixels; raise max_pixels")
    return h, w


def resize(image: Image, height: int, width: int) -> Image:
    """(H, W, 3) uint8 to (height, width, 3), bicubic with antialias.

    The same arithmetic as ``torchvision.transforms.functional.resize`` on a uint8 tensor, which qwen_vl_utils calls,
    without torchvision: its wheel does not load beside every build of torch.
    """
    if image.shape[:2] == (height, width):
        return image
    import torch

    pixels: Any = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(torch.float32)
    resized = torch.nn.functional.interpolate(
        pixels, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp_(0, 255).round_().to(torch.uint8)[0].permute(1, 2, 0).contiguous().numpy()
