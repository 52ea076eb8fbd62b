"""Which frames: qwen_vl_utils' rule and VSI-Bench's, as indices into the decoded video.

Source of ``qwen``: qwen_vl_utils 0.0.14, `smart_nframes` and the readers' ``torch.linspace(...).round()``, followed to
the bit (float32 included) without importing torch. Source of ``linspace``: VSI-Bench's evaluation code.
"""

from __future__ import annotations

import math

import numpy as np

from verl_vsi.data_adapters.frames.spec import FrameSpec

FRAME_FACTOR = 2
"""Frames come in pairs: the vision tower's temporal patch."""


def sample_indices(spec: FrameSpec, total: int, fps: float) -> tuple[int, ...]:
    """Indices of the frames to take, in order; ``linspace`` repeats them where a video has too few.

    Args:
        spec: sampler and counts.
        total: frames in the video.
        fps: the video's own frames a second.

    Raises:
        ValueError: the video has too few frames for the ``qwen`` rule.
    """
    if spec.sampler == "linspace":
        assert spec.nframes is not None  # FrameSpec refuses the rest
        return tuple(np.linspace(0, total - 1, spec.nframes, dtype=int).tolist())
    return _rounded_linspace(total, smart_nframes(spec, total, fps))


def smart_nframes(spec: FrameSpec, total: int, fps: float) -> int:
    """How many frames qwen_vl_utils takes.

    Raises:
        ValueError: not within 2 and `total`, where qwen_vl_utils stops too.
    """
    if spec.nframes is not None:
        count = round(spec.nframes / FRAME_FACTOR) * FRAME_FACTOR
    else:
        assert spec.fps is not None
        least = math.ceil(spec.min_frames / FRAME_FACTOR) * FRAME_FACTOR
        most = math.floor(spec.max_frames / FRAME_FACTOR) * FRAME_FACTOR
        count = min(min(max(total / fps * spec.fps, least), most), total)
        count = math.floor(count / FRAME_FACTOR) * FRAME_FACTOR
    if not FRAME_FACTOR <= count <= total:
        raise ValueError(
            f"it has {total} frame(s), sampler qwen wants {count} and at least {FRAME_FACTOR}; "
            "lower vsi.frames.nframes, or take vsi.frames.sampler=linspace, which repeats frames"
        )
    return count


def _rounded_linspace(total: int, count: int) -> tuple[int, ...]:
    """``torch.linspace(0, total - 1, count).round().long()``: in float32, from both ends towards the middle."""
    last = np.float32(total - 1)
    step = last / np.float32(count - 1)
    i = np.arange(count)
    rising = step * i.astype(np.float32)
    falling = last - step * (count - 1 - i).astype(np.float32)
    return tuple(np.where(i < count // 2, rising, falling).round().astype(int).tolist())
