"""What is known of a video's frames without looking at a pixel, and the frames themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.frames.decoders.base import Clip
from verl_vsi.data_adapters.frames.spec import FRAME_FACTOR, FrameSpec, frame_size, sample_indices

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FrameInfo:
    """The index entry of one array.

    Args:
        shape: (T, H, W) of the array.
        grid_thw: (t, h, w) patches as the model counts them (``video_grid_thw``).
        tokens: placeholder tokens in the prompt: t * h * w / 4.
        indices: (T,) which frames of the video.
        fps: the video's own frames a second.
        total: frames in the video.
        decoder: what read it.
    """

    shape: tuple[int, int, int]
    grid_thw: tuple[int, int, int]
    tokens: int
    indices: tuple[int, ...]
    fps: float
    total: int
    decoder: str

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self.total / self.fps

    @property
    def seconds_a_pair(self) -> float:
        """Mean time from one frame pair to the next: `second_per_grid_ts` of Qwen2.5-VL's processor."""
        return FRAME_FACTOR / (len(self.indices) / self.total * self.fps)

    @property
    def metadata(self) -> dict[str, Any]:
        """The video's metadata in the keys that qwen_vl_utils, transformers and vLLM use."""
        return {
            "fps": self.fps,
            "frames_indices": list(self.indices),
            "total_num_frames": self.total,
            "video_backend": self.decoder,
        }


@dataclass(frozen=True, eq=False)
class Frames:
    """One video's frames.

    Args:
        array: (T, H, W, 3) uint8, read-only, mapped from the store: processes share its pages.
        meta: what they are.
    """

    array: NDArray[np.uint8]
    meta: FrameInfo

    def tensor(self) -> torch.Tensor:
        """(T, 3, H, W) uint8 over the same memory, channels first as processors expect; not to be written to."""
        import torch

        base = self.array.view()
        base.flags.writeable = True  # the mapping is private to this process (copy on write), the file stays as it is
        return torch.from_numpy(base).permute(0, 3, 1, 2)


def frame_info(spec: FrameSpec, clip: Clip) -> FrameInfo:
    """Indices, size, grid and tokens of a video's frames: arithmetic only.

    Args:
        spec: which frames, how large.
        clip: what the container says.

    Raises:
        ValueError: the clip can't be sampled or resized so.
    """
    indices = sample_indices(spec, clip.total, clip.fps)
    height, width = frame_size(spec, clip.height, clip.width, len(indices))
    grid = (-(-len(indices) // FRAME_FACTOR), height // spec.patch_size, width // spec.patch_size)
    return FrameInfo(
        shape=(len(indices), height, width),
        grid_thw=grid,
        tokens=grid[0] * grid[1] * grid[2] // 4,
        indices=indices,
        fps=clip.fps,
        total=clip.total,
        decoder=spec.decoder,
    )
