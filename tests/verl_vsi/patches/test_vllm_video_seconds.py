"""What vLLM's Qwen2.5-VL knows of when frames were taken."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("verl")  # opens our plug-in
pytest.importorskip("vllm", reason="vLLM is not installed")

from vsi_support.model_folders import write_model_folder
from vsi_support.vllm_reading import VllmReader

pytestmark = pytest.mark.slow  # the import of vLLM's models

METADATA = {"fps": 30.0, "frames_indices": [0, 45, 90, 135], "total_num_frames": 180}
"""Four frames of six seconds: three seconds a pair."""
FRAMES = torch.zeros((4, 3, 56, 56), dtype=torch.uint8)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> VllmReader:
    return VllmReader(write_model_folder("qwen2_5_vl", tmp_path_factory.mktemp("model")), cached=True)


def seconds(reader: VllmReader, *videos: Any) -> list[float]:
    ids = [reader.config.vision_start_token_id, reader.config.video_token_id, reader.config.vision_end_token_id]
    _, features = reader.read(ids * len(videos), videos)
    return [float(feature.data["second_per_grid_ts"].data) for feature in features]


def test_the_processor_is_told_and_nothing_is_rounded(reader: VllmReader) -> None:
    metadata = {**METADATA, "total_num_frames": 181}
    assert seconds(reader, (FRAMES, metadata)) == [pytest.approx(181 / 60, rel=1e-7)]


def test_a_remembered_video_keeps_its_own(reader: VllmReader) -> None:
    slower = {**METADATA, "fps": 15.0}
    assert seconds(reader, (FRAMES, METADATA), (FRAMES, slower)) == [3.0, 6.0]
    assert seconds(reader, (FRAMES, slower), (FRAMES, METADATA)) == [6.0, 3.0]


def test_a_short_video_is_as_long_as_it_is(reader: VllmReader) -> None:
    """Two frames of half a second, shown twice: a request can't say fewer frames than it sends."""
    sent = {"fps": 4.0, "frames_indices": [0, 0, 1, 1], "total_num_frames": 4, "duration": 0.5}
    assert seconds(reader, (FRAMES, sent)) == [2 / (4 / 2 * 4)]


def test_without_metadata_it_is_as_before(reader: VllmReader) -> None:
    assert seconds(reader, FRAMES.numpy()) == [pytest.approx(2 / 24)]


def test_upstream_drops_them(reader: VllmReader) -> None:
    """The day that this fails, vLLM hands metadata on: take the patch out."""
    info = reader._processor.info
    parser = type(info).get_data_parser.__wrapped__(info)  # pyright: ignore[reportFunctionMemberAccess]
    assert not parser.video_needs_metadata
