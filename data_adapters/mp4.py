"""Frames to an mp4 file (MPEG-4 part 2, which every build of FFmpeg reads and writes)."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray


def encode_mp4(frames: Iterable[NDArray[np.uint8]], rate: float = 4, *, bit_rate: int = 2_000_000) -> bytes:
    """The same frames always give the same bytes on one build of FFmpeg.

    Args:
        frames: uint8 (H, W, 3) RGB pictures of one even size, taken one at a time.
        rate: frames a second.
        bit_rate: bits a second.
    """
    buffer = io.BytesIO()
    write_mp4(buffer, frames, rate, bit_rate=bit_rate)
    return buffer.getvalue()


def write_mp4(
    file: io.IOBase, frames: Iterable[NDArray[np.uint8]], rate: float = 4, *, bit_rate: int = 2_000_000
) -> int:
    """Write frames to an open binary file, one at a time; return how many there were.

    Args:
        file: can be written to and sought in.
        frames: uint8 (H, W, 3) RGB pictures of one even size.
        rate: frames a second.
        bit_rate: bits a second.
    """
    count = 0
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(
            "mpeg4", rate=Fraction(rate).limit_denominator(1000), options={"qmin": "2", "qmax": "4"}
        )
        stream.bit_rate, stream.pix_fmt, stream.thread_count = bit_rate, "yuv420p", 1
        for count, frame in enumerate(frames, 1):
            if count == 1:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return count
