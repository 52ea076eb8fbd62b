"""transformers' positions of videos, and ours in their place."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

pytest.importorskip("verl")  # opens our plug-in: shims that torchvision needs on a CPU

from transformers import Qwen2_5_VLModel, Qwen2VLModel, Qwen3VLModel
from vsi_support.model_folders import tiny_config

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
