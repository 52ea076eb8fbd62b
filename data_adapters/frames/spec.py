"""Which frames of a video, and how large: the settings that name one array in the store, and what follows from them.

Sampling: ``qwen`` is qwen_vl_utils 0.0.14, `smart_nframes` and the readers' ``torch.linspace(...).round()`` in float32,
followed without importing torch; ``linspace`` is VSI-Bench's evaluation code. Sizes: qwen_vl_utils' `smart_resize`
and its pixel budget for a video.

`torch.linspace` itself depends on the machine: its AVX kernels round in another order than its plain one, which we
follow. With up to 32 frames both give the same; with up to 800, one video in a hundred differs in one index, by 1,
where the exact value lies half-way between two frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""

Sampler = Literal["qwen", "linspace"]
Decoder = Literal["pyav", "torchcodec"]

SAMPLERS = ("qwen", "linspace")
DECODERS = ("pyav", "torchcodec")
_STORE_KEYS = ("on_error", "timeout", "memory", "store")  # how to store, not what


@dataclass(frozen=True)
class FrameSpec:
    """Sampling and size of a video's frames; defaults are qwen_vl_utils 0.0.14's, but for `nframes` and `decoder`.

    Args:
        sampler: ``qwen`` = qwen_vl_utils' `smart_nframes` and rounded linspace; ``linspace`` = VSI-Bench's
            ``np.linspace(0, n-1, k, dtype=int)``.
        nframes: frames a video; None: sample by `fps`.
        fps: frames a second of video (``qwen`` only); None: `nframes`.
        min_frames: lower bound where `fps` decides.
        max_frames: upper bound where `fps` decides.
        min_pixels: lower bound of a frame's pixels (height x width).
        max_pixels: upper bound of a frame's pixels.
        total_pixels: upper bound over the frames of a video (two frames make one grid step); None: 90 % of 128k tokens.
        patch_size: side of the vision tower's patch, pixels; two by two patches make a token.
        decoder: which library reads the file.
    """

    sampler: Sampler = "qwen"
    nframes: int | None = 16
    fps: float | None = None
    min_frames: int = 4
    max_frames: int = 768
    min_pixels: int = 128 * 28 * 28
    max_pixels: int = 768 * 28 * 28
    total_pixels: int | None = None
    patch_size: int = 14
    decoder: Decoder = "pyav"

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning, all at once."""
        if problems := list(self._problems()):
            raise ValueError("vsi.frames: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        checks = {
            f"sampler '{self.sampler}' is unknown, choose one of {', '.join(SAMPLERS)}": self.sampler not in SAMPLERS,
            f"decoder '{self.decoder}' is unknown, choose one of {', '.join(DECODERS)}": self.decoder not in DECODERS,
            f"set one of nframes and fps, and the other to null (now {self.nframes} and {self.fps})": (
                (self.nframes is None) == (self.fps is None)
            ),
            "sampler linspace takes nframes, not fps": self.sampler == "linspace" and self.nframes is None,
            f"nframes must be at least 1, got {self.nframes}": self.nframes is not None and self.nframes < 1,
            f"fps must be positive, got {self.fps}": self.fps is not None and self.fps <= 0,
            f"min_pixels {self.min_pixels} exceeds max_pixels {self.max_pixels}": self.min_pixels > self.max_pixels,
            f"max_pixels must be at least one token ({self.factor}x{self.factor}), got {self.max_pixels}": (
                self.max_pixels < self.factor**2
            ),
        }
        return [message for message, wrong in checks.items() if wrong]

    @classmethod
    def from_config(cls, node: Mapping[str, Any]) -> FrameSpec:
        """The spec in a recipe's ``vsi.frames`` node.

        Raises:
            ValueError: a key is unknown (a typo would otherwise train on other frames) or a value has no meaning.
        """
        names = {f.name for f in fields(cls)}
        unknown = [k for k in node if k not in names and k not in _STORE_KEYS]
        if unknown:
            raise ValueError(f"vsi.frames: unknown key {', '.join(unknown)}; known: {', '.join(sorted(names))}")
        return cls(**{k: node[k] for k in names & set(node)})

    @property
    def factor(self) -> int:
        """Side of one token in pixels: both sides of a frame are multiples of it."""
        return 2 * self.patch_size

    @property
    def choice(self) -> str:
        """Which frames of a video are taken, whatever their size: ``linspace-n16``."""
        count = f"n{self.nframes}" if self.fps is None else f"fps{self.fps:g}-{self.min_frames}-{self.max_frames}"
        return f"{self.sampler}-{count}"

    @property
    def key(self) -> str:
        """A readable folder name; equal for equal frames."""
        total = "" if self.total_pixels is None else f"-t{self.total_pixels}"
        patch = "" if self.patch_size == 14 else f"-p{self.patch_size}"
        return f"{self.choice}-{self.min_pixels}-{self.max_pixels}{total}{patch}-{self.decoder}"


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

    Args:
        spec: counts.
        total: frames in the video.
        fps: the video's own frames a second.

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

    Args:
        height: of the video, pixels.
        width: of the video, pixels.
        factor: of which both sides become multiples.
        min_pixels: lower bound of a frame's pixels.
        max_pixels: upper bound of a frame's pixels.

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
