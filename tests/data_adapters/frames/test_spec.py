"""Frame settings: what has no meaning is refused, what differs has another key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from verl_vsi.data_adapters.frames import FrameSpec


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"sampler": "random"}, "sampler 'random' is unknown, choose one of qwen, linspace"),
        ({"decoder": "decord"}, "decoder 'decord' is unknown, choose one of pyav, torchcodec"),
        ({"fps": 2}, "set one of nframes and fps"),  # nframes defaults to 16
        ({"nframes": None}, "set one of nframes and fps"),
        ({"sampler": "linspace", "nframes": None, "fps": 2}, "linspace takes nframes, not fps"),
        ({"nframes": 0}, "nframes must be at least 1, got 0"),
        ({"min_pixels": 5000, "max_pixels": 4000}, "min_pixels 5000 exceeds max_pixels 4000"),
        ({"min_pixels": 1, "max_pixels": 100}, "max_pixels must be at least one token"),
        ({"nframe": 8}, "unknown key nframe"),  # a typo
        ({"sampler": "random", "nframes": 0}, "random.*; nframes must"),  # all at once
    ],
)
def test_settings_without_meaning_are_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameSpec.from_config(node)


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": "linspace"},
        {"nframes": 8},
        {"nframes": None, "fps": 2.0},
        {"min_pixels": 784},
        {"max_pixels": 200_000},
        {"total_pixels": 10_000_000},
        {"patch_size": 16},
        {"decoder": "torchcodec"},
    ],
)
def test_other_frames_have_another_key(change: dict[str, Any]) -> None:
    assert replace(FrameSpec(), **change).key != FrameSpec().key


def test_how_to_store_is_not_which_frames() -> None:
    assert FrameSpec.from_config({"nframes": 8, "on_error": "skip", "timeout": 5, "store": "/x"}) == FrameSpec(
        nframes=8
    )
