"""verl's hook for what else positions need, which only ours implements."""

from __future__ import annotations

import pytest

pytest.importorskip("verl")  # opens our plug-in

from transformers import Qwen2_5_VLProcessor, Qwen2VLProcessor

from verl_vsi.patches.rope_index_kwargs import rope_index_kwargs


def test_verl_asks_for_the_hook_and_nobody_else_has_it() -> None:
    """The day that this fails, verl or transformers brings the hook: take the patch out."""
    assert Qwen2_5_VLProcessor.get_rope_index_kwargs is rope_index_kwargs  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(Qwen2VLProcessor, "get_rope_index_kwargs")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"video_grid_thw": 1, "second_per_grid_ts": [2.5]}, {"second_per_grid_ts": [2.5]}),
        ({"image_grid_thw": 1}, {}),
    ],
    ids=["a video's seconds", "an image has none"],
)
def test_seconds_are_handed_on(inputs: dict[str, object], expected: dict[str, object]) -> None:
    assert rope_index_kwargs(inputs) == expected
