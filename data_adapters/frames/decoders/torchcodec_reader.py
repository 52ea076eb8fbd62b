"""Decoder ``torchcodec``: seeks where that is exact. It needs the build that matches the installed torch.

It opens a file only after `pyav_reader` has found a container there that refers to no other file; unlike `pyav`, it
does not say which frames are damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.frames.decoders.base import Clip, Deadline, FrameError, check_rate
from verl_vsi.data_adapters.frames.decoders.pyav_reader import open_stream
from verl_vsi.data_adapters.frames.spec import Image


def probe(video: Path, deadline: Deadline) -> Clip:
    """Frames and rate as torchcodec reads them, size as it gives them.

    Args:
        video, deadline: see `base.Reader`.
    """
    deadline.check(video)
    with _open(video) as decoder:
        meta = decoder.metadata
        if not (meta.num_frames and meta.average_fps):
            raise FrameError(video, f"its video stream is empty ({meta.num_frames} frames)")
        check_rate(video, float(meta.average_fps), "its container")
        height, width = decoder[0].shape[:2]  # the metadata's are from before a turn
        return Clip(meta.num_frames, float(meta.average_fps), height, width)


def pick(video: Path, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
    """The frames at `indices`, (H, W, 3) uint8 RGB each; torchcodec's ``exact`` seek mode scans the file first.

    Args:
        video, indices, deadline: see `base.Reader`.
    """
    with _open(video) as decoder:
        for index in indices:
            deadline.check(video)
            yield decoder[index].numpy()


@contextmanager
def _open(video: Path) -> Iterator[Any]:
    make = _decoder_class()
    with open_stream(video):
        pass
    try:
        yield make(str(video), dimension_order="NHWC", seek_mode="exact")
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(video, f"torchcodec can't read it ({error})") from error


def _decoder_class() -> Any:
    try:
        from torchcodec.decoders import VideoDecoder  # pyright: ignore
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImportError(
            f"vsi.frames.decoder=torchcodec: torchcodec does not load here ({reason}); install the build that matches "
            "torch and FFmpeg, or set vsi.frames.decoder=pyav"
        ) from error
    return VideoDecoder
