"""Sizes and resized pixels against qwen_vl_utils and torchvision themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_vsi.data_adapters.frames import FrameSpec
from verl_vsi.data_adapters.frames.arrays import resize
from verl_vsi.data_adapters.frames.spec import frame_size, smart_resize


@pytest.fixture(scope="module")
def qwen() -> Any:
    pytest.importorskip("verl")  # its plug-in makes torchvision load beside a CPU build of torch
    return pytest.importorskip("qwen_vl_utils.vision_process")


@given(
    height=st.integers(28, 2200),
    width=st.integers(28, 2200),
    factor=st.sampled_from([28, 32]),
    low=st.integers(1, 300),
    span=st.integers(0, 800),
)
def test_a_size_is_qwens(qwen: Any, height: int, width: int, factor: int, low: int, span: int) -> None:
    bounds = low * factor**2, (low + span) * factor**2
    expected = qwen.smart_resize(height, width, factor, *bounds)
    if 0 in expected:
        with pytest.raises(ValueError, match="lose a side"):
            smart_resize(height, width, factor, *bounds)
    else:
        assert smart_resize(height, width, factor, *bounds) == expected


@settings(max_examples=60)
@given(
    nframes=st.sampled_from([2, 4, 16, 32, 64]),
    height=st.integers(30, 300),
    width=st.integers(30, 300),
    tokens=st.tuples(st.integers(1, 30), st.integers(0, 60)),
    total=st.none() | st.integers(2000, 2_000_000),
)
def test_a_videos_budget_is_shared_as_fetch_video_shares_it(
    qwen: Any, nframes: int, height: int, width: int, tokens: tuple[int, int], total: int | None
) -> None:
    import torch

    low, high = tokens[0] * 784, (tokens[0] + tokens[1]) * 784
    spec = FrameSpec(nframes=nframes, min_pixels=low, max_pixels=high, total_pixels=total)
    ele = {"video": "x", "nframes": nframes, "min_pixels": low, "max_pixels": high}
    blank = torch.zeros((nframes, 3, height, width), dtype=torch.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(qwen.VIDEO_READER_BACKENDS, "blank", lambda _: (blank, {}, 2.0))
        patch.setattr(qwen, "get_video_reader_backend", lambda: "blank")
        patch.setattr(qwen.transforms.functional, "resize", lambda video, size, **_: torch.tensor(size))
        expected = qwen.fetch_video(ele | ({} if total is None else {"total_pixels": total}))
    if 0 not in expected:
        assert list(frame_size(spec, height, width, nframes)) == expected.int().tolist()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((480, 640), (252, 336)),  # a benchmark video, smaller
        ((64, 96), (112, 140)),  # larger
        ((333, 517), (252, 392)),  # odd sides
        ((112, 112), (112, 112)),  # nothing to do
    ],
)
def test_pixels_are_torchvisions_to_the_bit(qwen: Any, before: tuple[int, int], after: tuple[int, int]) -> None:
    import torch

    image = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    tensor = torch.tensor(image).permute(2, 0, 1)[None]
    mode = qwen.InterpolationMode.BICUBIC
    expected = qwen.transforms.functional.resize(tensor, list(after), interpolation=mode, antialias=True)
    assert np.array_equal(resize(image, *after), expected[0].permute(1, 2, 0).numpy())


def test_a_strip_is_refused() -> None:
    with pytest.raises(ValueError, match="one side is over 200 times the other"):
        smart_resize(2, 2000, 28, 784, 7840)
