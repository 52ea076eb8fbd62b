"""What the store has done in a worker process: looking into a video, reading it, writing its frames.

FFmpeg, Pillow and the disk can each block or take all memory over one bad file; a process of its own can be ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.frames import arrays
from verl_vsi.data_adapters.frames.content import Signature, sha256, signature
from verl_vsi.data_adapters.frames.decoders import pick, probe
from verl_vsi.data_adapters.frames.decoders.base import (
    Clip,
    CountMismatchError,
    Deadline,
    FrameError,
    named_errors,
    out_of_time,
)
from verl_vsi.data_adapters.frames.info import FrameInfo, frame_info
from verl_vsi.data_adapters.frames.spec import Decoder, FrameSpec
from verl_vsi.data_adapters.processes import CrashError, Limits, OutOfTimeError, WorkerPool

GIB = 1 << 30


@dataclass(frozen=True)
class VideoLimits:
    """What looking into a video or decoding it may take.

    Args:
        seconds: from opening it to the last frame (``vsi.frames.timeout``).
        memory: GiB (``vsi.frames.memory``).
    """

    seconds: float = 60.0
    memory: float = 4.0

    def __post_init__(self) -> None:
        """Refuse what would be no limit."""
        for key, value in (("timeout", self.seconds), ("memory", self.memory)):
            if not 0 < value < float("inf"):
                raise ValueError(f"vsi.frames.{key} must be a positive number, got {value}")


DEFAULT_LIMITS = VideoLimits()


@dataclass(frozen=True)
class ReadVideo:
    """A video that was looked into and read.

    Args:
        clip: what its container says.
        state: its signature before and after.
        checksum: sha256 of its content.
    """

    clip: Clip
    state: Signature
    checksum: str


class VideoWorkers:
    """Worker processes that look into videos; whatever goes wrong there is a FrameError here.

    Args:
        size: how many work at once.
        limits: of each video.
    """

    def __init__(self, size: int, limits: VideoLimits) -> None:  # noqa: D107
        self._size = size
        self._limits = limits

    def call(self, function: Any, video: Path, *args: Any, imports: tuple[str, ...] = ()) -> Any:
        """``function(video, *args, seconds)`` in a worker.

        Args:
            function: of this module.
            video: the file or folder.
            args: its further arguments.
            imports: modules that it needs and that take long to load.

        Raises:
            FrameError: the video can't be read, or takes more than its limits.
            ChildProcessError: the process was killed.
        """
        seconds, memory = self._limits.seconds, self._limits.memory
        # The worker stops itself at `seconds` where it can; a second later it is stopped.
        limits = Limits(seconds + 1, int(memory * GIB), imports)
        try:
            return _pool(self._size).call(function, video, *args, seconds, limits=limits)
        except OutOfTimeError as error:
            raise out_of_time(video, seconds) from error
        except MemoryError as error:
            cause = f"decoding it takes over {memory:g} GiB of memory"
            raise FrameError(video, cause, "raise vsi.frames.memory, or replace the file") from error
        except CrashError as error:
            raise FrameError(video, str(error)) from error

    def stop(self) -> None:
        """End the workers, in the middle of what they are at."""
        _pool(self._size).end()


@cache
def _pool(size: int) -> WorkerPool:
    """One for all stores of this process: a worker takes a second to start and to import torch."""
    return WorkerPool(size)


def look_into(video: Path, decoder: Decoder, seconds: float) -> Clip:
    """What the container says.

    Args:
        video: the file or folder.
        decoder: which library reads files.
        seconds: to give up after.
    """
    return probe(video, decoder, Deadline.after(seconds))


def read_video(video: Path, decoder: Decoder, seconds: float) -> ReadVideo:
    """Look into a video, then read all of it; one that is no video is not read.

    Args:
        video: the file or folder.
        decoder: which library reads files.
        seconds: to give up after.

    Raises:
        FrameError: it is no readable video, or changed meanwhile.
    """
    deadline = Deadline.after(seconds)
    clip = probe(video, decoder, deadline)
    with named_errors(video):
        state = signature(video)
        checksum = sha256(video, deadline)
        _unchanged(video, state)
    return ReadVideo(clip, state, checksum)


@dataclass(frozen=True)
class ArrayOrder:
    """An array to be written.

    Args:
        spec: which frames, how large.
        path: of the array, without suffix.
        clip: what the video's container says.
        state: the video's signature when its checksum was taken.
        source: where the frames come from, kept in the index entry.
    """

    spec: FrameSpec
    path: Path
    clip: Clip
    state: Signature
    source: dict[str, Any]

    @property
    def imports(self) -> tuple[str, ...]:
        """What the work needs: torch, where frames are resized."""
        clip = self.clip
        return () if frame_info(self.spec, clip).shape[1:] == (clip.height, clip.width) else ("torch",)


def decode(video: Path, order: ArrayOrder, seconds: float) -> None:
    """Write a video's frames.

    Args:
        video: the file or folder.
        order: what to write, and where.
        seconds: to give up after.

    Raises:
        FrameError: the video can't be decoded, or has changed since `order.state`.
        OSError: the array can't be written.
    """
    deadline = Deadline.after(seconds)
    try:
        _write(video, order, deadline)
    except CountMismatchError as mismatch:
        # The container's index counted packets that show no picture: sample again by the true count.
        if not mismatch.actual:
            raise FrameError(video, "no frame of it can be decoded") from mismatch
        _write(video, replace(order, clip=replace(order.clip, total=mismatch.actual)), deadline)


def _write(video: Path, order: ArrayOrder, deadline: Deadline) -> None:
    info = describe(video, order.spec, order.clip)
    images = pick(video, order.spec.decoder, info.indices, deadline)
    arrays.write(order.path, info, images, order.source, check=lambda: _unchanged(video, order.state))


def describe(video: Path, spec: FrameSpec, clip: Clip) -> FrameInfo:
    """What the frames will be.

    Args:
        video: what messages name.
        spec: which frames, how large.
        clip: what the container says.

    Raises:
        FrameError: the clip can't be sampled or resized so.
    """
    try:
        return frame_info(spec, clip)
    except ValueError as error:
        raise FrameError(video, str(error)) from error


def _unchanged(video: Path, state: Signature) -> None:
    if signature(video) != state:
        raise FrameError(video, "it was written to while it was read", "wait until it is whole, and try again")
