"""verl 0.9.1 with transformers 5: a micro-batch of Qwen2-VL that shows nothing dies, `... has no attribute 'mean'`.

`_get_input_embeds` of `verl.models.transformers.qwen2_vl` runs the tower on zeros then, so that every rank calls it,
and takes the mean of what it returns: a tensor up to transformers 4, an object that holds one since 5. (For pixels verl
unpacks it.) Questions without video are one way there; a group that lost a rollout is another: verl fills the batch up
with rows of text, and with small micro-batches one of them is alone.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.models.transformers.qwen2_vl"
_GRID = (1, 4, 4)
_PATCHES = 16


def install() -> None:
    """Unpack the features of nothing too."""
    on_import(MODULE, _wrap)


def _wrap(qwen2_vl: Any) -> None:
    upstream = qwen2_vl._get_input_embeds

    @wraps(upstream)
    def _get_input_embeds(
        model: Any,
        input_ids: Any,
        attention_mask: Any = None,
        pixel_values: Any = None,
        pixel_values_videos: Any = None,
        image_grid_thw: Any = None,
        video_grid_thw: Any = None,
    ) -> Any:
        if pixel_values is None and pixel_values_videos is None:
            embeddings = model.get_input_embeddings()(input_ids)
            nothing = 0.0 * _features_of_nothing(qwen2_vl, model, embeddings).mean()
            mask = None if attention_mask is None else attention_mask.to(embeddings.device)
            return embeddings + nothing, mask
        return upstream(
            model, input_ids, attention_mask, pixel_values, pixel_values_videos, image_grid_thw, video_grid_thw
        )

    qwen2_vl._get_input_embeds = _get_input_embeds


def _features_of_nothing(qwen2_vl: Any, model: Any, like: Any) -> Any:
    vision = model.config.vision_config
    channels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    output = model.visual(like.new_zeros((_PATCHES, channels)), grid_thw=qwen2_vl.torch.tensor([_GRID]).to(like.device))
    return qwen2_vl.unpack_visual_output(output)[0]
