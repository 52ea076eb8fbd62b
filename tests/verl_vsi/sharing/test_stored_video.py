"""A video's name stands for its pixels: the trainer makes from it what the rollout's processor made."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

os.environ["VERL_PLATFORM"] = "cpu"

import torch

from verl_vsi.data_adapters.datasets.data_settings import DataSettings
from verl_vsi.data_adapters.frames import FrameSpec, VideoLimits
from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.sharing.stored_video import KEY, StoredVideo, stored_patches, video_names, with_pixels

SIDE = 56


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with two videos."""
    folder = tmp_path_factory.mktemp("root")
    for number in range(2):
        frames = np.random.default_rng(number).integers(0, 255, (4, SIDE, SIDE, 3), dtype=np.uint8)
        (folder / f"{number}.mp4").write_bytes(encode_mp4(frames, 4))
    return folder


@pytest.fixture(scope="module")
def processor() -> Any:
    """Qwen2-VL's own, for videos only."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    class Processor:
        video_processor = Qwen2VLVideoProcessor(min_pixels=SIDE * SIDE, max_pixels=SIDE * SIDE)

    return Processor()


def stored(root: Path, number: int = 0) -> StoredVideo:
    """One of the videos."""
    spec = FrameSpec(sampler="linspace", nframes=4, fps=None, min_pixels=SIDE * SIDE, max_pixels=SIDE * SIDE)
    settings = DataSettings(root, root / "frames", spec, "raise", VideoLimits(), "vanilla", "")
    return StoredVideo(settings, f"{number}.mp4")


@pytest.fixture(scope="module")
def processor3() -> Any:
    """Qwen3-VL's, which has larger patches."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    size = {"shortest_edge": 32 * 32, "longest_edge": 2**20}
    return SimpleNamespace(video_processor=Qwen3VLVideoProcessor(size=size, patch_size=16))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["processor", "processor3"])
def test_patches_are_the_processors(root: Path, request: pytest.FixtureRequest, name: str) -> None:
    video, processor = stored(root), request.getfixturevalue(name)
    expected = processor.video_processor(videos=[video.frames()], do_sample_frames=False, return_tensors="pt")
    assert torch.equal(stored_patches(video.text, processor), expected["pixel_values_videos"])


def test_a_workers_actor_and_reference_share_patches(root: Path) -> None:
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    def made_by(pixels: int) -> torch.Tensor:
        processor = SimpleNamespace(video_processor=Qwen2VLVideoProcessor(min_pixels=pixels, max_pixels=pixels))
        return stored_patches(stored(root).text, processor)

    assert made_by(SIDE * SIDE) is made_by(SIDE * SIDE)
    assert made_by(SIDE * SIDE).shape != made_by(4 * SIDE * SIDE).shape


def test_a_name_travels_as_text(root: Path) -> None:
    text = stored(root).text
    assert StoredVideo.from_text(text) == stored(root)
    assert len(text) < 1000


def test_two_videos_have_two_names(root: Path) -> None:
    assert stored(root, 0).text != stored(root, 1).text


def test_verls_own_engine_gets_pixels(root: Path, processor: Any) -> None:
    grids = torch.tensor([[2, 4, 4], [2, 4, 4]])
    videos = [stored(root, 0), stored(root, 1)]
    inputs = with_pixels({"video_grid_thw": grids, KEY: [video.text for video in videos]}, processor)
    assert inputs.keys() == {"video_grid_thw", "pixel_values_videos"}
    assert torch.equal(inputs["pixel_values_videos"][32:], stored_patches(videos[1].text, processor))


def test_inputs_without_names_stay() -> None:
    assert with_pixels({"image_grid_thw": 1}, None) == {"image_grid_thw": 1}


def test_videos_of_a_message_in_order() -> None:
    content = [{"type": "video", "video": "a.mp4"}, {"type": "text", "text": "x"}, {"type": "video", "video": "b.mp4"}]
    assert video_names([{"role": "system", "content": "y"}, {"role": "user", "content": content}]) == ["a.mp4", "b.mp4"]
