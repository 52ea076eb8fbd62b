"""transformers 5.10 counts positions after a video otherwise than the weights were trained with, and than vLLM counts.

`get_rope_index` of Qwen2-VL and Qwen2.5-VL resumes text at the larger of a video's height and width, where version 4
and vLLM resume after the largest of all its positions; Qwen2.5-VL's cuts the seconds between frame pairs to whole ones
too. verl binds that function to the processor and asks it for every rollout's positions, so above some frame count the
actor saw other positions than the rollout, without a word. Where upstream counts as vLLM it is left alone.
"""

from __future__ import annotations

from functools import wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from verl_vsi.on_import import on_import

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = {"qwen2_vl": "Qwen2VLModel", "qwen2_5_vl": "Qwen2_5_VLModel"}
"""Family -> transformers' class that counts for it."""

_IMAGE, _VIDEO = 1, 2
_PROBE_IDS = [0, *[_VIDEO] * 5, 0]
_PROBE_GRID, _PROBE_SECONDS = [5, 2, 2], 1.5
"""Five frame pairs of one token, three quarters of a second a frame: each defect shows in it."""


def install() -> None:
    """Count by `verl_vsi.data_adapters.positions`."""
    for family, name in CLASSES.items():
        module = f"transformers.models.{family}.modeling_{family}"
        on_import(module, lambda loaded, family=family, name=name: _wrap(getattr(loaded, name), family))


def _wrap(model: Any, family: str) -> None:
    if counts_as_trained(model, family):
        return
    from verl_vsi.data_adapters.positions import PositionRule, mrope_positions

    upstream = model.get_rope_index

    @wraps(upstream)
    def get_rope_index(
        self: Any,
        input_ids: Tensor,
        mm_token_type_ids: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        second_per_grid_ts: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        # Megatron-Bridge's Qwen2.5-VL borrows this function, and its config names no family
        rule = PositionRule.of(self.config, family)
        assert rule is not None
        vision = {
            "image_grid_thw": image_grid_thw,
            "video_grid_thw": video_grid_thw,
            "second_per_grid_ts": second_per_grid_ts,
        }
        positions = mrope_positions(input_ids, rule, vision, attention_mask)
        lengths = input_ids.shape[1] if attention_mask is None else attention_mask.sum(dim=1)
        return positions, (positions.amax(dim=(0, 2)) + 1 - lengths).unsqueeze(1)

    model.get_rope_index = get_rope_index


def counts_as_trained(model: Any, family: str) -> bool:
    """Whether a class of transformers counts a short video as vLLM does.

    Args:
        model: the class; its own function is asked, where it is wrapped already.
        family: `model_type` of its config.
    """
    import torch

    from verl_vsi.data_adapters.positions import PositionRule, mrope_positions

    config = _probe_config(family)
    upstream = getattr(model.get_rope_index, "__wrapped__", model.get_rope_index)
    stand_in: Any = SimpleNamespace(config=config)
    stand_in.get_vision_position_ids = lambda *args, **kwargs: model.get_vision_position_ids(stand_in, *args, **kwargs)
    rule = PositionRule.of(config)
    assert rule is not None
    with torch.device("cpu"):  # a module may be imported where models are made, on the meta device
        ids = torch.tensor([_PROBE_IDS])
        vision = {"video_grid_thw": torch.tensor([_PROBE_GRID]), "second_per_grid_ts": torch.tensor([_PROBE_SECONDS])}
        positions, _ = upstream(stand_in, input_ids=ids, mm_token_type_ids=torch.where(ids == _VIDEO, 2, 0), **vision)
        return torch.equal(positions, mrope_positions(ids, rule, vision))


def _probe_config(model_type: str) -> Any:
    vision = SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
    return SimpleNamespace(model_type=model_type, image_token_id=_IMAGE, video_token_id=_VIDEO, vision_config=vision)
