"""What every reader of videos keeps to: what it offers, what it says of a container, and how it fails."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from verl_vsi.data_adapters.frames.spec import Image
from verl_vsi.data_adapters.untrusted_text import visible

REMEDY = (
    "replace the file, or set vsi.frames.on_error=skip (leave its rows out) or =quarantine (the same, and remember it)"
)

LARGEST_FRAME = 8192 * 8192
"""Pixels; a larger frame is not decoded. 8K video has half as many."""

HIGHEST_RATE = 1000.0
"""Frames a second; more is a slip in the file, not a video."""


class FrameError(ValueError):
    """A video that can't give frames; the message names the file, the cause and the way out.

    Args:
        video: the file or folder.
        cause: what is wrong with it.
        remedy: what to do about it.
    """

    def __init__(self, video: Path | str, cause: str, remedy: str = REMEDY) -> None:  # noqa: D107
        super().__init__(f"video '{visible(str(video))}': {visible(cause)}; {remedy}")
        self.video = str(video)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[FrameError], tuple[str, str, str]]:
        """Cross process borders whole (a worker raises it)."""
        return FrameError, (self.video, self.cause, self.remedy)


class CountMismatchError(Exception):
    """The container announced another number of frames than its healthy stream holds."""

    def __init__(self, actual: int) -> None:  # noqa: D107
        super().__init__(f"the stream holds {actual} frames")
        self.actual = actual


@contextmanager
def named_errors(video: Path) -> Iterator[None]:
    """Whatever a library raises over a video comes out as a `FrameError` that names it.

    Catches everything on purpose: at this border stands foreign code that reads foreign bytes.

    Args:
        video: the file or folder.

    Raises:
        FrameError: the block failed.
        MemoryError: it ran out of memory; the caller knows the limit.
    """
    try:
        yield
    except (FrameError, CountMismatchError, ImportError, MemoryError):
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        raise FrameError(video, f"it can't be read ({type(error).__name__}: {error})"[:500]) from error


@contextmanager
def regular_file(video: Path, name: str = "it") -> Iterator[BinaryIO]:
    """An open file that is really one: a FIFO or a device would be waited for without end.

    Args:
        video: what messages name.
        name: of the file within `video`, where that is a folder.

    Raises:
        FrameError: it is no regular file, or can't be opened.
    """
    path = video if name == "it" else video / name
    subject = "it" if name == "it" else f"its file {name}"
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise FrameError(video, f"{subject} can't be opened ({error.strerror})", ACCESS) from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FrameError(video, f"{subject} is no regular file, but a pipe, a device or a folder")
        yield file


ACCESS = "see who may read it and where it leads, or set vsi.frames.on_error=skip"


def check_size(video: Path, width: int, height: int, name: str = "its frames are") -> None:
    """Stop before memory is taken for a frame that no model needs.

    Args:
        video: what messages name.
        width: of a frame, pixels.
        height: of a frame, pixels.
        name: start of the clause, e.g. ``its image 0.png is``.

    Raises:
        FrameError: it has more than `LARGEST_FRAME` pixels.
    """
    if width * height > LARGEST_FRAME:
        limit = f"more than the {LARGEST_FRAME} pixels that are decoded"
        raise FrameError(video, f"{name} {width}x{height}, {limit}", f"scale it down, {REMEDY}")


def check_rate(video: Path, rate: float, where: str) -> None:
    """Stop at a rate that no video has.

    Args:
        video: what messages name.
        rate: frames a second.
        where: what gives it.

    Raises:
        FrameError: it is not above 0 and at most `HIGHEST_RATE`.
    """
    if not 0 < rate <= HIGHEST_RATE:
        raise FrameError(video, f"{where} gives {rate:g} frames a second; it must be above 0, at most {HIGHEST_RATE:g}")


@dataclass(frozen=True)
class Clip:
    """What a container says of its video: frames, frames a second, size in pixels as it is shown (upright)."""

    total: int
    fps: float
    height: int
    width: int


@dataclass(frozen=True)
class Deadline:
    """A point in time after which a video is given up."""

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
            raise out_of_time(video, self.seconds)


def out_of_time(video: Path, seconds: float) -> FrameError:
    """What is raised when a video takes too long.

    Args:
        video: the file or folder.
        seconds: that it may take.
    """
    return FrameError(video, f"decoding took over {seconds:g} s", "raise vsi.frames.timeout, or replace it")


class Reader(Protocol):
    """What a reader's module offers."""

    def probe(self, video: Path, deadline: Deadline) -> Clip:
        """What the container says, checked without decoding more than its first frame.

        Args:
            video: the file or folder.
            deadline: when to give up.

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
