"""Decoder ``pyav``: FFmpeg through PyAV, from the first frame on, so that every index is exact in every container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from verl_vsi.data_adapters.frames.decoders.base import Clip, CountMismatchError, Deadline, FrameError
from verl_vsi.data_adapters.frames.spec import Image


def probe(video: Path) -> Clip:
    """Frames, rate and size from the container's own index; its packets are counted where it has none."""
    with _open(video) as (container, stream):
        total = _indexed_frames(video, stream) or _counted_frames(video, container, stream)
        context = stream.codec_context
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if not (total and rate and context.width and context.height):
            raise FrameError(video, f"its video stream is empty ({total} frames at {rate:g} a second)")
        return Clip(total, rate, context.height, context.width)


def pick(video: Path, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
    """The frames at `indices`, (H, W, 3) uint8; only these are converted to RGB.

    Args:
        video, indices, deadline: see `base.Reader`.
    """
    remaining = iter(indices)
    index = next(remaining)
    count = 0
    with _open(video) as (container, stream):
        for frame in _decode(video, container, stream, deadline):
            if count == index:
                image = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                while count == index:
                    yield image
                    index = next(remaining, -1)
                if index < 0:
                    return
            count += 1
    raise CountMismatchError(count)


def _decode(video: Path, container: InputContainer, stream: VideoStream, deadline: Deadline) -> Iterator[VideoFrame]:
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        deadline.check(video)
        if packet.is_corrupt:
            raise FrameError(video, "it is cut short or damaged: a packet is incomplete")
        yield from packet.decode()


@contextmanager
def _open(video: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream; libav's errors come out with the file's name."""
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise FrameError(video, f"it has no video stream, only {_kinds(container)}")
            yield container, container.streams.video[0]
    except FFmpegError as error:
        cause = f"it is no readable video, or cut short ({error.strerror})"
        raise FrameError(video, cause) from error


def _indexed_frames(video: Path, stream: VideoStream) -> int:
    """Frames by the container's index, 0 where it has no full one; the index also betrays a missing end."""
    entries = getattr(stream, "index_entries", ())
    if not stream.frames or len(entries) != stream.frames:
        return 0
    end, size = max(e.pos + e.size for e in entries), video.stat().st_size
    if end > size:
        raise FrameError(video, f"it is cut short: {size} bytes of at least {end}")
    return stream.frames


def _counted_frames(video: Path, container: InputContainer, stream: VideoStream) -> int:
    """Packets of a container without a full index (Matroska, AVI); they must last as long as it announces."""
    count, end = 0, 0.0
    for packet in container.demux(stream):
        count += bool(packet.size)
        if packet.size and packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    announced = (container.duration or 0) / av.time_base
    if end and announced - end > max(1.0, 0.05 * announced):
        raise FrameError(video, f"it is cut short: {end:.1f} s of {announced:.1f} s")
    return count


def _kinds(container: InputContainer) -> str:
    return ", ".join(sorted({s.type for s in container.streams})) or "nothing"
