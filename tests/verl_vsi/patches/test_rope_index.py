"""transformers' positions of videos, and ours in their place."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

pytest.importorskip("verl")  # opens our plug-in: shims that torchvision needs on a CPU

from transformers import Qwen2_5_VLModel, Qwen2VLModel, Qwen3VLModel
from vsi_support.model_folders import random_model, tiny_config

from verl_vsi.patches.rope_index import counts_as_trained

FAMILY = {Qwen2VLModel: "qwen2_vl", Qwen2_5_VLModel: "qwen2_5_vl"}


@pytest.mark.parametrize("model", FAMILY)
def test_upstream_counts_otherwise(model: Any) -> None:
    """The day that this fails, transformers counts as vLLM: the patch has ended by itself, take it out."""
    assert not counts_as_trained(model, FAMILY[model])


@pytest.mark.parametrize("model", FAMILY)
def test_the_look_at_upstream_works_where_models_are_made_without_memory(model: Any) -> None:
    with torch.device("meta"):
        assert not counts_as_trained(model, FAMILY[model])


def test_qwen3_vl_needs_no_patch() -> None:
    assert not hasattr(Qwen3VLModel.get_rope_index, "__wrapped__")


@pytest.mark.parametrize("model", FAMILY)
def test_ours_takes_what_upstream_takes(model: Any) -> None:
    names = inspect.signature(inspect.unwrap(model.get_rope_index)).parameters
    with torch.device("meta"):
        made = model(tiny_config(FAMILY[model]))
    ids = torch.tensor([[0, 5, made.config.video_token_id, 6], [5, 6, 7, 8]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    values = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": None, "image_grid_thw": None}
    values |= {"video_grid_thw": torch.tensor([[1, 2, 2]]), "second_per_grid_ts": torch.tensor([1.0])}
    positions, deltas = made.get_rope_index(**{name: values[name] for name in names if name in values})
    assert positions[0].tolist() == [[0, 0, 1, 2], [0, 1, 2, 3]]
    assert deltas.tolist() == [[0], [0]]


@pytest.mark.parametrize(("name", "offsets"), [("qwen2_vl", {12, 15}), ("qwen2_5_vl", {46})])
def test_with_upstreams_positions_a_model_says_something_else(name: str, offsets: set[int]) -> None:
    """The defect at 32 frames of 4x4 tokens (transformers 5.10; 5.5 has another); .990 and .989 on real prompts."""
    model = random_model(tiny_config(name)).eval()
    video, random = model.config.video_token_id, torch.Generator().manual_seed(0)
    text = torch.randint(0, 200, (40,), generator=random).tolist()
    ids = torch.tensor([[*text[:20], *[video] * 16 * 16, *text[20:]]])
    pixels = torch.randn(16 * 64, 3 * 2 * 14 * 14, generator=random)
    vision = {"video_grid_thw": torch.tensor([[16, 8, 8]])}
    seconds = {"second_per_grid_ts": torch.tensor([5 / 3])} if name == "qwen2_5_vl" else {}
    ours, _ = model.model.get_rope_index(ids, **vision, **seconds)
    kinds = torch.where(ids == video, 2, 0)
    theirs, _ = inspect.unwrap(model.model.get_rope_index.__func__)(model.model, ids, kinds, **vision)
    assert int((ours - theirs).abs().max()) in offsets
    with torch.no_grad():
        logits = [model(ids, position_ids=p, pixel_values_videos=pixels, **vision).logits for p in (ours, theirs)]
    probabilities = torch.stack([each[0, -20:].softmax(-1).flatten() for each in logits])
    assert torch.corrcoef(probabilities)[0, 1] < 0.995
