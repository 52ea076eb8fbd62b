"""Readers of videos, by name: each probes a container and yields chosen frames in order, one in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from verl_vsi.data_adapters.frames.decoders import image_folder, pyav_reader
from verl_vsi.data_adapters.frames.info import Clip, FrameError
from verl_vsi.data_adapters.frames.spec import Decoder, Image


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
    """What a decoder module offers."""

    def probe(self, video: Path) -> Clip:
        """What the container says, checked without decoding.

        Raises:
            FrameError: it is no readable video.
        """
        ...

    def pick(self, video: Path, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
        """(H, W, 3) RGB of each index, in order; `indices` do not fall.

        Raises:
            FrameError: a frame can't be decoded, or time is up.
            CountMismatchError: the healthy stream ended before the last index.
        """
        ...


def reader(decoder: Decoder, video: Path) -> Reader:
    """The reader for `video`: a folder of images is a video too, whatever the decoder.

    Raises:
        FrameError: the file is missing or empty.
        ImportError: torchcodec is asked for and does not load.
    """
    if video.is_dir():
        return image_folder
    if not video.exists():
        raise FrameError(video, "it does not exist", "`verl-vsi data check` says which official file holds it")
    if video.stat().st_size == 0:
        raise FrameError(video, "it is empty (0 bytes), perhaps an interrupted download")
    if decoder == "pyav":
        return pyav_reader
    from verl_vsi.data_adapters.frames.decoders import torchcodec_reader

    return torchcodec_reader
