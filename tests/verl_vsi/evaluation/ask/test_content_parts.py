from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
from verl_vsi.evaluation.ask.content_parts import Send, VideoEncoder

SPEC = FrameSpec(sampler="linspace", nframes=4, min_pixels=56 * 56, max_pixels=56 * 56)


def decoded(payload: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(payload))))


@pytest.mark.parametrize("send", ["video", "images"])
def test_frames_travel_without_losing_a_bit(data_root: Path, send: Send) -> None:
    store = FrameStore(data_root / "frames", SPEC, data_root=data_root)
    parts = VideoEncoder(data_root, store, send).content("rooms/scene0").parts
    if send == "video":
        head, *payloads = parts[0]["video_url"]["url"].split(",")
        assert head == "data:video/jpeg;base64"
    else:
        payloads = [part["image_url"]["url"].split(",", 1)[1] for part in parts]
    stored = store.frames(data_root / "rooms/scene0").array
    assert np.array_equal(np.stack([decoded(p) for p in payloads]), stored)


def test_the_server_is_told_to_sample_and_resize_nothing(data_root: Path) -> None:
    store = FrameStore(data_root / "frames", SPEC, data_root=data_root)
    extra = VideoEncoder(data_root, store, "video").content("rooms/scene0").more
    assert extra["mm_processor_kwargs"] == {"do_resize": False}
    assert extra["media_io_kwargs"]["video"]["num_frames"] == -1
    assert extra["media_io_kwargs"]["video"]["frames_indices"] == [0, 1, 2, 3]


def test_a_video_outside_the_data_root_is_refused(data_root: Path) -> None:
    store = FrameStore(data_root / "frames", SPEC, data_root=data_root)
    with pytest.raises(ValueError, match="leaves the data root"):
        VideoEncoder(data_root, store, "video").content("../elsewhere.mp4")


def test_a_video_with_fewer_frames_than_are_asked_for_is_one_that_vllm_takes(data_root: Path) -> None:
    """Its frames come twice (VSI-Bench's linspace); vLLM refuses more frames than `total_num_frames`."""
    store = FrameStore(data_root / "frames", replace(SPEC, nframes=32), data_root=data_root)
    content = VideoEncoder(data_root, store, "video").content("rooms/scene0")
    video = content.more["media_io_kwargs"]["video"]
    assert len(video["frames_indices"]) == 32 <= video["total_num_frames"]
