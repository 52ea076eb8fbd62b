"""Readers of videos, by name; `base` says what each of them offers."""

from __future__ import annotations

from pathlib import Path

from verl_vsi.data_adapters.frames.decoders import image_folder, pyav_reader
from verl_vsi.data_adapters.frames.decoders.base import FrameError, Reader
from verl_vsi.data_adapters.frames.spec import Decoder


def reader_for(video: Path, decoder: Decoder) -> Reader:
    """The reader for a video: a folder of images is a video too, whatever the decoder.

    Args:
        video: the file or folder.
        decoder: which library reads files.

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
