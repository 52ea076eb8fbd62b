"""What every reader of videos keeps to: what it offers, what it says of a container, and how it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from verl_vsi.data_adapters.frames.spec import Image

REMEDY = (
    "replace the file, or set vsi.frames.on_error=skip (leave its rows out) or =quarantine (the same, and remember it)"
)


class FrameError(ValueError):
    """A video that can't give frames; the message names the file, the cause and the way out.

    Args:
        video: the file or folder.
        cause: what is wrong with it.
        remedy: what to do about it.
    """

    def __init__(self, video: Path | str, cause: str, remedy: str = REMEDY) -> None:  # noqa: D107
        super().__init__(f"video '{video}': {cause}; {remedy}")
        self.video = str(video)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[FrameError], tuple[str, str, str]]:
        """Cross process borders whole (a builder's workers raise it)."""
        return FrameError, (self.video, self.cause, self.remedy)


class CountMismatchError(Exception):
    """The container announced another number of frames than its healthy stream holds."""

    def __init__(self, actual: int) -> None:  # noqa: D107
        super().__init__(f"the stream holds {actual} frames")
        self.actual = actual


@dataclass(frozen=True)
class Clip:
    """What a container says of its video: frames, frames a second, size in pixels."""

    total: int
    fps: float
    height: int
    width: int


@dataclass(frozen=True)
class Deadline:
    """A point in time after which decoding one video is given up."""

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds, seconds)

    def check(self, video: Path) -> None:
        """Stop here when time is up.

        Raises:
            FrameError: it is; says how to allow more.
        """
        if time.monotonic() > self.at:
            raise FrameError(video, f"decoding took over {self.seconds:g} s", "raise vsi.frames.timeout, or replace it")


class Reader(Protocol):
    """What a reader's module offers."""

    def probe(self, video: Path) -> Clip:
        """What the container says, checked without decoding.

        Raises:
            FrameError: it is no readable video.
        """
        ...

    def pick(self, video: Path, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
        """Chosen frames in order, one in memory at a time.

        Args:
            video: the file or folder.
            indices: (T,) which frames; they do not fall.
            deadline: when to give up.

        Yields:
            (H, W, 3) uint8 RGB of each index.

        Raises:
            FrameError: a frame can't be decoded, or time is up.
            CountMismatchError: the healthy stream ended before the last index.
        """
        ...
