"""A video's stored frames as parts of a chat message, without losing a bit.

vLLM takes a video as frames joined by commas after ``data:video/jpeg;base64,`` and opens each with Pillow, whatever
its format: so PNG frames arrive as they stand in the store, and the model sees the very pixels of training. Endpoints
that know no video get the same PNG frames as images.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from verl_vsi.data_adapters.files import inside
from verl_vsi.data_adapters.frames import FrameInfo, FrameStore
from verl_vsi.evaluation.items import Item, Shown

Send = Literal["video", "images"]
ENCODED_VIDEOS = 8
"""Encoded videos kept: questions are asked scene by scene."""


@dataclass(frozen=True)
class ContentParts:
    """A video as OpenAI's chat format takes it.

    Args:
        parts: of the message's content.
        more: what the request says beside its messages.
    """

    parts: tuple[dict[str, Any], ...]
    more: dict[str, Any]


class VideoEncoder:
    """Encodes videos for messages, from the frame store of training.

    Args:
        root: the data root.
        store: the frame store.
        send: ``video``: vLLM's form; ``images``: any OpenAI-compatible endpoint.
    """

    def __init__(self, root: Path, store: FrameStore, send: Send) -> None:  # noqa: D107
        self._root, self._store, self._send = root, store, send
        self._encoded = lru_cache(maxsize=ENCODED_VIDEOS)(self._encode)

    def content(self, item: Item) -> ContentParts:
        """What is shown with a question; nothing with a blind one.

        Raises:
            FrameError: its video can't be decoded.
        """
        return ContentParts((), {}) if item.video is None else self._encoded(item.video, item.shown, item.hidden)

    def _encode(self, video: str, shown: Shown, hidden: tuple[int, ...]) -> ContentParts:
        frames = self._store.frames(inside(self._root, video))
        encoded = [base64.b64encode(png(frame)).decode() for frame in altered(frames.array, shown, hidden)]
        if self._send == "images":
            return ContentParts(tuple(_image(f"data:image/png;base64,{frame}") for frame in encoded), {})
        url = "data:video/jpeg;base64," + ",".join(encoded)
        return ContentParts(({"type": "video_url", "video_url": {"url": url}},), _as_stored(frames.meta))


def altered(frames: NDArray[np.uint8], shown: Shown, hidden: tuple[int, ...] = ()) -> NDArray[np.uint8]:
    """(T, H, W, 3) frames as a condition shows them, as many and as large.

    Args:
        frames: of the video.
        shown: the frames themselves, the first one T times, or black ones.
        hidden: places of frames in whose stead the nearest of the others is shown; where none is left, black.
    """
    left = [0] if shown == "first-frame" else [place for place in range(len(frames)) if place not in hidden]
    if shown == "black" or not left:
        return np.zeros_like(frames)
    return frames[[min(left, key=lambda other: abs(other - place)) for place in range(len(frames))]]


def png(frame: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 as PNG, quickly rather than small."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _as_stored(meta: FrameInfo) -> dict[str, Any]:
    """Tell vLLM when the frames were taken, and to take and size none anew: the store has done both."""
    metadata = meta.metadata
    video = {
        "num_frames": -1,
        "fps": metadata["fps"],
        "frames_indices": metadata["frames_indices"],
        "total_num_frames": max(metadata["total_num_frames"], meta.shape[0]),  # of a short video frames come twice
        "duration": meta.seconds,
    }
    return {"media_io_kwargs": {"video": video}, "mm_processor_kwargs": {"do_resize": False}}
