"""Megatron's Qwen2-VL against transformers': logits and gradients, and controls that must differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from vsi_support.padded_batches import PaddedBatch, padded_batch
from vsi_support.random_qwen2_vl import IMAGE, VIDEO

from verl_vsi.megatron import qwen2_vl as model_module

TOLERANCE = 1e-5


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def loss(logits: Tensor, batch: PaddedBatch) -> Tensor:
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    return (logits * weights)[batch.mask].sum()


def test_logits_are_transformers(pair: Any, videos: PaddedBatch) -> None:
    with torch.no_grad():
        ours, theirs = pair.megatron_logits(videos), pair.hf_logits(videos)
    assert apart(ours[videos.mask], theirs[videos.mask]) < TOLERANCE


def test_gradients_are_transformers(pair: Any, videos: PaddedBatch) -> None:
    from vsi_support.megatron_core_model import heads
    from vsi_support.weight_conversion import to_huggingface

    for model in (pair.hf, pair.megatron):
        model.zero_grad()
    loss(pair.hf_logits(videos), videos).backward()
    loss(pair.megatron_logits(videos), videos).backward()
    # every parameter has one: in the tower, the merger, the embedding and each layer
    ours = to_huggingface({name: value.grad for name, value in pair.megatron.named_parameters()}, heads(pair.hf.config))
    theirs = published_names({name: value.grad for name, value in pair.hf.named_parameters()})
    assert ours.keys() == theirs.keys()
    # key biases have no effect on softmax: their gradient is rounding
    assert {name: apart(ours[name], theirs[name]) for name in ours if "k_proj.bias" not in name} == pytest.approx(
        dict.fromkeys((name for name in ours if "k_proj.bias" not in name), 0), abs=TOLERANCE
    )


def published_names(named: dict[str, Any]) -> dict[str, Any]:
    """transformers' names in memory, as it writes them."""
    return {
        name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): value
        for name, value in named.items()
    }


def one_dimensional(input_ids: Tensor, *arguments: Any) -> Tensor:
    return torch.arange(input_ids.shape[1]).expand(3, *input_ids.shape)


def test_one_dimensional_positions_differ(pair: Any, videos: PaddedBatch) -> None:
    with torch.no_grad(), patch.object(model_module, "mrope_positions", one_dimensional):
        ours, theirs = pair.megatron_logits(videos), pair.hf_logits(videos)
    assert apart(ours[videos.mask], theirs[videos.mask]) > 1e-2


def test_without_the_video_logits_differ(pair: Any, videos: PaddedBatch) -> None:
    with torch.no_grad(), patch.object(model_module, "scatter_features", lambda embeddings, *_: embeddings):
        ours, theirs = pair.megatron_logits(videos), pair.hf_logits(videos)
    text_only = 2
    assert apart(ours[text_only][videos.mask[text_only]], theirs[text_only][videos.mask[text_only]]) < TOLERANCE
    for row in (0, 1, 3):
        assert apart(ours[row][videos.mask[row]], theirs[row][videos.mask[row]]) > 1e-2


def test_without_a_causal_mask_logits_differ(pair: Any, videos: PaddedBatch) -> None:
    from megatron.core.fusions import fused_softmax

    nothing_masked = lambda size: torch.zeros(size, size, dtype=torch.bool)  # noqa: E731
    with torch.no_grad(), patch.object(fused_softmax, "get_default_causal_mask", nothing_masked):
        ours, theirs = pair.megatron_logits(videos), pair.hf_logits(videos)
    assert apart(ours[videos.mask], theirs[videos.mask]) > 1e-2


def test_videos_of_a_batch_are_not_exchanged(pair: Any) -> None:
    batch = padded_batch([[3, (VIDEO, (2, 4, 4)), 5], [3, (VIDEO, (2, 4, 4)), 5]])
    patches = batch.vision["pixel_values_videos"]
    swapped = replace(batch, vision=batch.vision | {"pixel_values_videos": patches.roll(len(patches) // 2, 0)})
    with torch.no_grad():
        assert apart(pair.megatron_logits(swapped), pair.hf_logits(batch)) > 1e-2
        assert apart(pair.megatron_logits(swapped), pair.hf_logits(swapped)) < TOLERANCE


def test_padding_changes_nothing(pair: Any, videos: PaddedBatch) -> None:
    row, length = 0, int(videos.mask[0].sum())
    alone = PaddedBatch(
        videos.input_ids[row : row + 1, :length],
        videos.mask[row : row + 1, :length],
        {
            "pixel_values_videos": videos.vision["pixel_values_videos"][: 2 * 4 * 6],
            "video_grid_thw": videos.vision["video_grid_thw"][:1],
        },
    )
    with torch.no_grad():
        assert apart(pair.megatron_logits(alone)[0], pair.megatron_logits(videos)[row, :length]) < TOLERANCE


def test_padding_on_the_left_is_refused(pair: Any, videos: PaddedBatch) -> None:
    with pytest.raises(ValueError, match="padding on the right only"):
        pair.megatron_logits(replace(videos, mask=videos.mask.flip(1)))


def test_pixels_of_other_rows_are_refused(pair: Any, videos: PaddedBatch) -> None:
    fewer = videos.vision | {"pixel_values_videos": videos.vision["pixel_values_videos"][4 * 6 * 2 :]}
    with pytest.raises((ValueError, RuntimeError)):
        pair.megatron_logits(replace(videos, vision=fewer))


@pytest.mark.parametrize(
    ("flags", "frozen"),
    [
        ({"language_model": True}, {"language_model"}),
        ({"vision_model": True}, {"tower"}),
        ({"vision_projection": True}, {"merger"}),
        ({"vision_model": True, "vision_projection": True}, {"tower", "merger"}),
        ({}, set()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_freeze_flag_takes_its_part_and_no_other(
    pair: Any, videos: PaddedBatch, flags: dict[str, bool], frozen: set[str]
) -> None:
    pair.megatron.zero_grad()
    pair.megatron.freeze(**flags)
    loss(pair.megatron_logits(videos), videos).backward()
    without = {part(name) for name, value in pair.megatron.named_parameters() if value.grad is None}
    with_gradient = {part(name) for name, value in pair.megatron.named_parameters() if value.grad is not None}
    pair.megatron.requires_grad_(True)
    assert without == frozen
    assert with_gradient == {"language_model", "tower", "merger"} - frozen


def part(name: str) -> str:
    if name.startswith("language_model."):
        return "language_model"
    return "merger" if name.startswith("visual.merger.") else "tower"


@pytest.mark.parametrize(
    ("setting", "says"), [({"context_parallel_size": 2}, "context"), ({"apply_rope_fusion": True}, "fused kernel")]
)
def test_what_the_model_cannot_do_is_refused(pair: Any, setting: dict[str, Any], says: str) -> None:
    from verl_vsi.megatron.qwen2_vl import Qwen2VLModel

    config = replace(pair.megatron.config)
    for name, value in setting.items():
        setattr(config, name, value)
    with pytest.raises(ValueError, match=says):
        Qwen2VLModel(config, pair.megatron.language_model, pair.megatron.visual, pair.megatron.rule)


def test_an_image_and_a_video_are_told_apart(pair: Any) -> None:
    """Same patches, same grid: only the token differs, and with it which pixels are taken."""
    batch = padded_batch([[3, (IMAGE, (1, 4, 4)), 2, (VIDEO, (1, 4, 4)), 4]])
    with torch.no_grad():
        assert apart(pair.megatron_logits(batch), pair.hf_logits(batch)) < TOLERANCE


def test_rotary_frequencies_stay_float32_in_a_bfloat16_model(pair: Any) -> None:
    from verl_vsi.megatron.model_inputs import vision_tower

    tower = vision_tower(pair.hf.config.vision_config, torch.float32).bfloat16()
    exact = pair.hf.model.visual.rotary_pos_emb.inv_freq
    assert torch.equal(tower.rotary_pos_emb.inv_freq, exact)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}
