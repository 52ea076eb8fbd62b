"""Readers of videos, by name; `base` says what each of them offers.

Whatever a reader's library raises comes out of `probe` and `pick` as a FrameError that names the video.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from verl_vsi.data_adapters.frames.decoders import image_folder, pyav_reader
from verl_vsi.data_adapters.frames.decoders.base import Clip, Deadline, FrameError, Reader, named_errors
from verl_vsi.data_adapters.frames.spec import Decoder, Image


def probe(video: Path, decoder: Decoder, deadline: Deadline) -> Clip:
    """What the container says; see `base.Reader`.

    Args:
        video: the file or folder.
        decoder: which library reads files.
        deadline: when to give up.

    Raises:
        FrameError: it is no readable video.
        ImportError: torchcodec is asked for and does not load.
    """
    with named_errors(video):
        return reader_for(video, decoder).probe(video, deadline)


def pick(video: Path, decoder: Decoder, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
    """Chosen frames, (H, W, 3) uint8 RGB each; see `base.Reader`.

    Args:
        video: the file or folder.
        decoder: which library reads files.
        indices: (T,) which frames; they do not fall.
        deadline: when to give up.
    """
    with named_errors(video):
        yield from reader_for(video, decoder).pick(video, indices, deadline)


def reader_for(video: Path, decoder: Decoder) -> Reader:
    """The reader for a video: a folder of images is a video too, whatever the decoder.

    Args:
        video: the file or folder.
        decoder: which library reads files.

    Raises:
        FrameError: the file is missing or empty.
        ImportError: torchcodec is asked for and does not load.
    """
    with named_errors(video):
        if video.is_dir():
            return image_folder
        if not video.exists():
            raise FrameError(video, "it does not exist", "`verl-vsi data check` says which official file holds it")
        if video.is_file() and video.stat().st_size == 0:
            raise FrameError(video, "it is empty (0 bytes), perhaps an interrupted download")
    if decoder == "pyav":
        return pyav_reader
    from verl_vsi.data_adapters.frames.decoders import torchcodec_reader

    return torchcodec_reader
