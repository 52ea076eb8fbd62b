from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
from verl_vsi.evaluation.ask.content_parts import Send, VideoEncoder, altered

SPEC = FrameSpec(sampler="linspace", nframes=4, min_pixels=56 * 56, max_pixels=56 * 56)


def decoded(payload: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(payload))))


@pytest.mark.parametrize("send", ["video", "images"])
def test_frames_travel_without_losing_a_bit(data_root: Path, send: Send, make_item: Any) -> None:
    store = FrameStore(data_root / "frames", SPEC, data_root=data_root)
    parts = VideoEncoder(data_root, store, send).content(make_item(0, "route_planning")).parts
    if send == "video":
        head, *payloads = parts[0]["video_url"]["url"].split(",")
        assert head == "data:video/jpeg;base64"
    else:
        payloads = [part["image_url"]["url"].split(",", 1)[1] for part in parts]
    stored = store.frames(data_root / "rooms/scene0").array
    assert np.array_equal(np.stack([decoded(p) for p in payloads]), stored)


def test_the_server_is_told_to_sample_and_resize_nothing(data_root: Path, make_item: Any) -> None:
    store = FrameStore(data_root / "frames", SPEC, data_root=data_root)
    extra = VideoEncoder(data_root, store, "video").content(make_item(0, "route_planning")).more
    assert extra["mm_processor_kwargs"] == {"do_resize": False}
    assert extra["media_io_kwargs"]["video"]["num_frames"] == -1
    assert extra["media_io_kwargs"]["video"]["frames_indices"] == [0, 1, 2, 3]


def test_a_video_outside_the_data_root_is_refused(data_root: Path, make_item: Any) -> None:
    store = FrameStore(data_root / "frames", SPEC, data_root=data_root)
    with pytest.raises(ValueError, match="leaves the data root"):
        VideoEncoder(data_root, store, "video").content(make_item(0, "route_planning", video="../elsewhere.mp4"))


def test_a_video_with_fewer_frames_than_are_asked_for_is_one_that_vllm_takes(data_root: Path, make_item: Any) -> None:
    """Its frames come twice (VSI-Bench's linspace); vLLM refuses more frames than `total_num_frames`."""
    store = FrameStore(data_root / "frames", replace(SPEC, nframes=32), data_root=data_root)
    content = VideoEncoder(data_root, store, "video").content(make_item(0, "route_planning"))
    video = content.more["media_io_kwargs"]["video"]
    assert len(video["frames_indices"]) == 32 <= video["total_num_frames"]


FRAMES = np.arange(1, 5, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(3, axis=3)
SHOWN = [
    ("frames", (), [1, 2, 3, 4]),
    ("black", (), [0, 0, 0, 0]),
    ("first-frame", (), [1, 1, 1, 1]),
    ("frames", (0, 1), [3, 3, 3, 4]),
    ("frames", (1,), [1, 1, 3, 4]),
    ("frames", (0, 1, 2, 3), [0, 0, 0, 0]),
]


@pytest.mark.parametrize(("shown", "hidden", "seen"), SHOWN)
def test_a_condition_shows_as_many_frames_and_only_what_it_says(
    shown: Any, hidden: tuple[int, ...], seen: list[int]
) -> None:
    assert altered(FRAMES, shown, hidden)[:, 0, 0, 0].tolist() == seen
