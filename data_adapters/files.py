"""Write a file whole or not at all, and never read or write outside a root."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath

import av
import numpy as np
from numpy.typing import NDArray

# MERGED Frames to an mp4 file (MPEG-4 part 2, which every build of FFmpeg reads and writes).


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
    """Write frames to an open binary file, one at a time; return how many there were."""
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


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well, and is removed when not.

    Args:
        target: the file to write; its folder is made where missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep a cluster's other users out
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, content: bytes) -> None:
    """Write bytes whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def relative(text: str, where: str) -> str:
    """`text` as a path relative to some root, with forward slashes: the form in which records and rows keep paths.

    Raises:
        ValueError: it is empty, absolute, or climbs out with ``..``; the message starts with `where`.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if not text.strip() or path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts:
        raise ValueError(f"{where}: path '{text}' leaves the data root; give it relative to vsi.root, without '..'")
    return str(path)


def inside(root: Path, relative: str) -> Path:
    """The path of `relative` under `root`.

    Raises:
        ValueError: it is absolute or climbs out of `root`, by name or through a link that leaves it.
    """
    parts = PurePosixPath(relative)
    path = root / parts
    if (
        parts.is_absolute()
        or ".." in parts.parts
        or "\\" in relative
        or not path.resolve().is_relative_to(root.resolve())
    ):
        raise ValueError(f"path '{relative}' leaves the data root {root}; give it relative to the root, without '..'")
    return path
