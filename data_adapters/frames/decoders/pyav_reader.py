"""Decoder ``pyav``: FFmpeg through PyAV, from the first frame on, so that every index is exact in every container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from verl_vsi.data_adapters.frames.decoders.base import (
    LARGEST_FRAME,
    Clip,
    CountMismatchError,
    Deadline,
    FrameError,
    check_rate,
    check_size,
    regular_file,
)
from verl_vsi.data_adapters.frames.spec import Image

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
"""Containers that are opened, in FFmpeg's names. No playlist (concat, hls, dash): those name other files."""


def probe(video: Path, deadline: Deadline) -> Clip:
    """Frames and rate from the container's own index, size from the first frame; packets are counted without an index.

    Args:
        video, deadline: see `base.Reader`.
    """
    with open_stream(video) as (container, stream):
        indexed = _indexed_frames(video, stream)
        total = indexed or _counted_frames(video, container, stream, deadline)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if not (total and rate):
            raise FrameError(video, f"its video stream is empty ({total} frames at {rate:g} a second)")
        check_rate(video, rate, "its container")
        if indexed:
            return Clip(total, rate, *_shown_size(video, container, stream, deadline))
    with open_stream(video) as (container, stream):  # its packets were counted: from the start again
        return Clip(total, rate, *_shown_size(video, container, stream, deadline))


def _shown_size(video: Path, container: InputContainer, stream: VideoStream, deadline: Deadline) -> tuple[int, int]:
    """(height, width) of the first frame, upright: which way that is, only a decoded frame says."""
    for frame in _decode(video, container, stream, deadline):
        height, width = upright(np.empty((frame.height, frame.width)), frame).shape
        return height, width
    raise FrameError(video, "no frame of it can be decoded")


def pick(video: Path, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
    """The frames at `indices`, (H, W, 3) uint8, upright; only these are converted to RGB.

    Args:
        video, indices, deadline: see `base.Reader`.
    """
    remaining = iter(indices)
    index = next(remaining)
    count = 0
    with open_stream(video) as (container, stream):
        stream.thread_type = "AUTO"
        for frame in _decode(video, container, stream, deadline):
            if count == index:
                image = upright(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8), frame)
                while count == index:
                    yield image
                    index = next(remaining, -1)
                if index < 0:
                    return
            count += 1
    raise CountMismatchError(count)


def _decode(video: Path, container: InputContainer, stream: VideoStream, deadline: Deadline) -> Iterator[VideoFrame]:
    count = 0
    for packet in container.demux(stream):
        deadline.check(video)
        if packet.is_corrupt:
            raise FrameError(video, "it is cut short or damaged: a packet is incomplete")
        for frame in packet.decode():
            if frame.is_corrupt:  # FFmpeg has guessed what it could not decode, and so will the frames that follow
                raise FrameError(video, f"it is damaged: frame {count} can't be decoded whole")
            count += 1
            yield frame


def upright(image: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """The picture as a player shows it: turned and mirrored as the container's display matrix says.

    FFmpeg's matrix (a b u; c d v; x y w) takes the point (p, q) to (a p + c q, b p + d q), q downwards. Turns by other
    than right angles are left out.

    Args:
        image: (H, W, ...) as decoded.
        frame: what it was decoded from.

    Returns:
        the same memory, or (W, H, ...).
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32, 5).astype(int)
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


@contextmanager
def open_stream(video: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its best video stream, as FFmpeg ranks them and players show it.

    Raises:
        FrameError: it is no video of one of `FORMATS`, its codec is unknown, or its frames are too large.
    """
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    with regular_file(video) as file:
        try:
            # By its handle: what is opened is what was looked at, whatever bytes the name has.
            with av.open(f"/dev/fd/{file.fileno()}", options=options, metadata_errors="replace") as container:
                yield container, _best(video, container)
        except FFmpegError as error:
            cause = f"it is no readable video ({', '.join(FORMATS)}), or cut short ({error.strerror})"
            raise FrameError(video, cause) from error


def _best(video: Path, container: InputContainer) -> VideoStream:
    if not len(container.streams):
        raise FrameError(video, "it is cut short or damaged: its container lists no stream")
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise FrameError(video, f"it has no video stream, only {_kinds(container)}")
    context = stream.codec_context
    if context is None:
        convert = "convert it (ffmpeg -i OLD -c:v libx264 NEW), or set vsi.frames.on_error=skip"
        raise FrameError(video, "its codec is none that this build of FFmpeg can decode", convert)
    check_size(video, context.width, context.height)
    context.options = {"max_pixels": str(LARGEST_FRAME)}  # for a stream that grows on its way
    return stream


def _indexed_frames(video: Path, stream: VideoStream) -> int:
    """Frames by the container's index, 0 where it has no full one; the index also betrays a missing end."""
    entries = getattr(stream, "index_entries", ())
    if not stream.frames or len(entries) != stream.frames:
        return 0
    end, size = max(e.pos + e.size for e in entries), video.stat().st_size
    if end > size:
        raise FrameError(video, f"it is cut short: {size} bytes of at least {end}")
    return stream.frames


def _counted_frames(video: Path, container: InputContainer, stream: VideoStream, deadline: Deadline) -> int:
    """Packets of a container without a full index (Matroska, AVI); they must last as long as it announces."""
    count, end = 0, 0.0
    for packet in container.demux(stream):
        deadline.check(video)
        count += bool(packet.size)
        if packet.size and packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    announced = (container.duration or 0) / av.time_base
    if end and announced - end > max(1.0, 0.05 * announced):
        raise FrameError(video, f"it is cut short: {end:.1f} s of {announced:.1f} s")
    return count


def _kinds(container: InputContainer) -> str:
    kinds = {"a still picture" if s.type == "video" else s.type for s in container.streams}
    return ", ".join(sorted(kinds))
