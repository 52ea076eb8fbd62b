"""Positions against transformers, vLLM and literal ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from vsi_support.padded_batches import Item, padded_batch
from vsi_support.random_qwen2_vl import IMAGE, VIDEO, VISION_END, VISION_START

from verl_vsi.megatron.positions import VisionTokens, mrope_positions

TOKENS = VisionTokens(IMAGE, VIDEO, 2)


def ours(rows: list[list[Item]]) -> tuple[Any, Tensor]:
    batch = padded_batch(rows)
    grids = (batch.vision.get("image_grid_thw"), batch.vision.get("video_grid_thw"))
    return batch, mrope_positions(batch.input_ids, TOKENS, *grids)


def test_text_counts_on_and_a_video_has_time_rows_and_columns() -> None:
    _, positions = ours([[2, (VIDEO, (2, 4, 2)), 1]])
    # two words, <start>, 2 frames of 2 rows and 1 column, <end>, a word
    assert positions[:, 0].tolist() == [
        [0, 1, 2, 3, 3, 4, 4, 5, 6],
        [0, 1, 2, 3, 4, 3, 4, 5, 6],
        [0, 1, 2, 3, 3, 3, 3, 5, 6],
    ]


def test_text_after_a_long_video_starts_after_its_last_frame() -> None:
    _, positions = ours([[1, (VIDEO, (5, 2, 2)), 1]])
    assert positions[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_two_videos_side_by_side_are_two() -> None:
    """Without a word between them, as no processor writes them."""
    ids = torch.tensor([[VIDEO, VIDEO, 1]])
    positions = mrope_positions(ids, TOKENS, video_grid_thw=torch.tensor([[1, 2, 2], [1, 2, 2]]))
    assert positions[0, 0].tolist() == [0, 1, 2]


ROWS: dict[str, list[list[Item]]] = {
    "one video": [[4, (VIDEO, (2, 6, 4)), 5]],
    "several of unequal length": [[4, (VIDEO, (2, 6, 4)), 3, (VIDEO, (1, 4, 4)), 5], [1, (VIDEO, (3, 8, 6)), 2]],
    "no vision": [[7], [3]],
    "images and videos": [[2, (IMAGE, (1, 4, 6)), (VIDEO, (2, 4, 4)), 3], [(VIDEO, (1, 2, 2)), (IMAGE, (1, 8, 2)), 1]],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_positions_are_transformers(rows: list[list[Item]]) -> None:
    batch, positions = ours(rows)
    theirs = transformers_positions(batch)
    assert torch.equal(positions[:, batch.mask], theirs[:, batch.mask])


def transformers_positions(batch: Any) -> Tensor:
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    config = SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2))
    model: Any = SimpleNamespace(config=config)
    model.get_vision_position_ids = lambda *arguments, **options: Qwen2VLModel.get_vision_position_ids(
        model, *arguments, **options
    )
    positions, _ = Qwen2VLModel.get_rope_index(
        model,
        batch.input_ids,
        batch.types,
        image_grid_thw=batch.vision.get("image_grid_thw"),
        video_grid_thw=batch.vision.get("video_grid_thw"),
        attention_mask=batch.mask.long(),
    )
    return positions


def test_transformers_differs_for_videos_longer_than_wide() -> None:
    """The day that this fails, transformers counts as the model was trained: take the remark from positions.py."""
    batch, positions = ours([[1, (VIDEO, (5, 2, 2)), 1]])
    assert not torch.equal(positions, transformers_positions(batch))


LONG: dict[str, list[list[Item]]] = {**ROWS, "longer than wide": [[3, (VIDEO, (9, 4, 6)), 4, (VIDEO, (6, 2, 2)), 2]]}


@pytest.mark.slow  # the import of vLLM's models
@pytest.mark.parametrize("rows", LONG.values(), ids=LONG.keys())
def test_positions_are_vllms(rows: list[list[Item]]) -> None:
    qwen2_vl = pytest.importorskip("vllm.model_executor.models.qwen2_vl", reason="vLLM is not installed")
    batch, positions = ours(rows)
    remaining = {token: iter(batch.vision.get(name, torch.zeros(0, 3)).tolist()) for token, name in GRIDS.items()}
    for number, row in enumerate(batch.input_ids):
        ids = row[batch.mask[number]].tolist()
        model = SimpleNamespace(iter_mm_grid_thw=lambda items: items)
        items = [(at, t, h // 2, w // 2, 1.0) for at, (t, h, w) in starts(ids, remaining)]
        theirs, _ = qwen2_vl.Qwen2VLForConditionalGeneration.get_mrope_input_positions(model, ids, items)
        assert torch.equal(positions[:, number, : len(ids)], theirs)


GRIDS = {IMAGE: "image_grid_thw", VIDEO: "video_grid_thw"}


def starts(ids: list[int], remaining: dict[int, Any]) -> list[tuple[int, Any]]:
    return [(at + 1, next(remaining[ids[at + 1]])) for at, token in enumerate(ids) if token == VISION_START]


@pytest.mark.parametrize(
    ("ids", "grids", "says"),
    [
        ([1, VIDEO, 2], [], "no grid is left"),
        ([VIDEO, VIDEO, 2], [(1, 2, 4), (1, 2, 2)], "1 video grids have no tokens"),
        (
            [VIDEO, VIDEO, VISION_END],
            [(1, 4, 4)],
            r"2 video tokens from .* 0, and its grid \(1, 4, 4\) stands for 4",
        ),
        ([VIDEO, VISION_END, VIDEO], [(1, 2, 4)], "1 video tokens from position 0"),
    ],
    ids=["sampled by the model", "too many grids", "cut", "interrupted"],
)
def test_ids_that_do_not_match_their_grids_are_named(
    ids: list[int], grids: list[tuple[int, int, int]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        mrope_positions(torch.tensor([ids]), TOKENS, video_grid_thw=torch.tensor(grids).reshape(-1, 3))
