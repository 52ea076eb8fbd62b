"""Which frames of a video, and how large: the settings that name one array in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

Sampler = Literal["qwen", "linspace"]
Decoder = Literal["pyav", "torchcodec"]

SAMPLERS = ("qwen", "linspace")
DECODERS = ("pyav", "torchcodec")
_STORE_KEYS = ("on_error", "timeout", "store")  # how to store, not what


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
        known = {f.name for f in fields(cls)}
        unknown = [k for k in node if k not in known and k not in _STORE_KEYS]
        if unknown:
            raise ValueError(f"vsi.frames: unknown key {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return cls(**{k: node[k] for k in known & set(node)})

    @property
    def factor(self) -> int:
        """Side of one token in pixels: both sides of a frame are multiples of it."""
        return 2 * self.patch_size

    @property
    def key(self) -> str:
        """A readable folder name; equal for equal frames."""
        count = f"n{self.nframes}" if self.fps is None else f"fps{self.fps:g}-{self.min_frames}-{self.max_frames}"
        total = "" if self.total_pixels is None else f"-t{self.total_pixels}"
        patch = "" if self.patch_size == 14 else f"-p{self.patch_size}"
        return f"{self.sampler}-{count}-{self.min_pixels}-{self.max_pixels}{total}{patch}-{self.decoder}"
