"""Videos decoded once: sampling, sizes, decoders, and the memory-mapped store that every reader shares."""

from verl_vsi.data_adapters.frames.decode import VideoLimits
from verl_vsi.data_adapters.frames.decoders.base import FrameError
from verl_vsi.data_adapters.frames.info import FrameInfo, Frames
from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.frames.store import FrameStore, OnError

__all__ = ["FrameError", "FrameInfo", "FrameSpec", "FrameStore", "Frames", "OnError", "VideoLimits"]
