"""Sampling against qwen_vl_utils' own functions and VSI-Bench's formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.data_adapters.frames import FrameSpec
from verl_vsi.data_adapters.frames.spec import sample_indices, smart_nframes


@pytest.fixture(scope="module")
def qwen() -> Any:
    pytest.importorskip("verl")  # its plug-in makes torchvision load beside a CPU build of torch
    return pytest.importorskip("qwen_vl_utils.vision_process")


def upstream(qwen: Any, ele: dict[str, Any], total: int, fps: float) -> list[int] | None:
    """Indices as qwen_vl_utils' readers compute them; None where it refuses."""
    import torch

    try:
        count = qwen.smart_nframes(ele, total_frames=total, video_fps=fps)
    except ValueError:
        return None
    return torch.linspace(0, total - 1, count).round().long().tolist()


def ours(spec: FrameSpec, total: int, fps: float) -> list[int] | None:
    try:
        return list(sample_indices(spec, total, fps))
    except ValueError:
        return None


@given(total=st.integers(1, 20000), nframes=st.integers(1, 128))
def test_a_number_of_frames_samples_as_qwen_does(qwen: Any, total: int, nframes: int) -> None:
    theirs = upstream(qwen, {"nframes": nframes}, total, 24)
    assert same_but_for_ties(ours(FrameSpec(nframes=nframes), total, 24), theirs, total)


@given(
    total=st.integers(1, 20000),
    rate=st.sampled_from([8, 23.976, 24, 29.97, 30, 60]),
    fps=st.sampled_from([0.25, 0.5, 1, 2, 4, 7.5]),
    least=st.integers(1, 9),
    most=st.integers(10, 800),
)
def test_a_rate_samples_as_qwen_does(qwen: Any, total: int, rate: float, fps: float, least: int, most: int) -> None:
    spec = FrameSpec(nframes=None, fps=fps, min_frames=least, max_frames=most)
    ele = {"fps": fps, "min_frames": least, "max_frames": most}
    assert same_but_for_ties(ours(spec, total, rate), upstream(qwen, ele, total, rate), total)


def same_but_for_ties(one: list[int] | None, other: list[int] | None, total: int) -> bool:
    """Equal, except where the exact value is half-way between two frames: torch's own kernels differ there."""
    if one is None or other is None or len(one) != len(other):
        return one == other
    exact = np.arange(len(one)) * (total - 1) / (len(one) - 1)
    tie = np.abs(exact % 1 - 0.5) < 0.005  # two units in float32's last place at 20,000
    return all(a == b or (half and abs(a - b) == 1) for a, b, half in zip(one, other, tie, strict=True))


def test_a_tie_of_torchs_kernels_is_the_only_difference_that_passes() -> None:
    assert same_but_for_ties([0, 2, 3], [0, 1, 3], 4)
    assert not same_but_for_ties([0, 1, 4], [0, 2, 4], 5)
    assert not same_but_for_ties([0, 1], [0, 1, 2], 3)


@given(total=st.integers(1, 20000), k=st.integers(1, 128))
def test_linspace_is_the_benchmarks_formula(total: int, k: int) -> None:
    spec = FrameSpec(sampler="linspace", nframes=k)
    assert sample_indices(spec, total, 24) == tuple(np.linspace(0, total - 1, k, dtype=int))


def test_the_two_samplers_differ_where_one_rounds_and_the_other_cuts() -> None:
    assert sample_indices(FrameSpec(nframes=4), 9, 24) == (0, 3, 5, 8)
    assert sample_indices(FrameSpec(sampler="linspace", nframes=4), 9, 24) == (0, 2, 5, 8)


def test_a_video_with_too_few_frames_names_both_ways_out() -> None:
    with pytest.raises(ValueError, match=r"it has 1 frame.*wants 16.*nframes.*sampler=linspace"):
        smart_nframes(FrameSpec(nframes=16), 1, 24)
