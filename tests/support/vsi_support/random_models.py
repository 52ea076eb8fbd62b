"""Models of the Qwen families with random weights, of any size, in place of published ones.

All of them speak the ids of `random_qwen2_vl`, so one batch serves them all but for patches and the prompt's form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from vsi_support import random_qwen2_vl
from vsi_support.random_qwen2_vl import IMAGE, VIDEO, VISION_END, VISION_START, Sizes, sharpened, text_config


@dataclass(frozen=True)
class Family:
    """What tells one family from another where a batch or a model is made."""

    name: str
    """As transformers' `model_type`."""
    patch: int
    """Pixels of a patch's side."""
    build: Callable[[Sizes], Any]
    """The model, before its weights are sharpened."""
    frame_by_frame: bool = False
    """Whether a prompt shows a video as a text and a piece for each pair of frames."""

    @property
    def channels(self) -> int:
        """Numbers in a patch: colours, frames, height, width."""
        return 3 * 2 * self.patch**2

    def random_model(self, sizes: Sizes | None = None, *, sharp: bool = True) -> Any:
        """A model with random weights, always the same for the same arguments.

        Args:
            sizes: of the model; tiny by default.
            sharp: with larger weights than at initialisation, so that a wrong attention shows in a small model.
        """
        torch.manual_seed(0)
        model = self.build(sizes or Sizes())
        return sharpened(model) if sharp else model


_TOKENS = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
}


def _qwen2_vl(sizes: Sizes) -> Any:
    return random_qwen2_vl.random_model(sizes, sharp=False)


def _qwen2_5_vl(sizes: Sizes) -> Any:
    """Every eighth layer of the tower sees all of a frame, the others windows of four by four tokens, as published.

    Its MLPs have three matrices, which weigh what the two of Qwen2-VL do.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {
        **_vision(sizes),
        "intermediate_size": sizes.vision_width * sizes.vision_ratio * 2 // 3,
        "fullatt_block_indexes": list(range(7, sizes.vision_layers, 8)) or [sizes.vision_layers - 1],
    }
    return Qwen2_5_VLForConditionalGeneration(_config(Qwen2_5_VLConfig, sizes, text_config(sizes), vision))


def _qwen3_vl(sizes: Sizes) -> Any:
    """Features of the tower's first layers (three in published models) go to the language model's first ones."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    deepstack = list(range(min(3, sizes.vision_layers, sizes.layers)))
    vision = {**_vision(sizes), "deepstack_visual_indexes": deepstack, "num_position_embeddings": 36}
    return Qwen3VLForConditionalGeneration(_config(Qwen3VLConfig, sizes, _text3(sizes), vision))


def _qwen3_5(sizes: Sizes) -> Any:
    """Linear attention in all layers but every second one (every fourth in published models).

    Its heads remember some 2 to 40 tokens. As initialised, most forget all but the last one, and a prompt's state would
    hardly matter; and their decays' gradients would be rounding error, as transformers' chunks lose them.
    """
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    text = _text3(sizes)
    text["rope_parameters"]["partial_rotary_factor"] = 1.0
    text |= {
        "layer_types": [("linear_attention", "full_attention")[layer % 2] for layer in range(sizes.layers)],
        "linear_key_head_dim": sizes.head,
        "linear_value_head_dim": sizes.head,
        "linear_num_key_heads": sizes.groups,
        "linear_num_value_heads": sizes.heads,
    }
    vision = {**_vision(sizes), "num_position_embeddings": 36}
    model: Any = Qwen3_5ForConditionalGeneration(_config(Qwen3_5Config, sizes, text, vision))
    for layer in model.model.language_model.layers:
        if hasattr(layer, "linear_attn"):
            layer.linear_attn.A_log.data.uniform_(-4, -1)
    return model


def _vision(sizes: Sizes) -> dict[str, Any]:
    return {
        "depth": sizes.vision_layers,
        "hidden_size": sizes.vision_width,
        "intermediate_size": sizes.vision_width * sizes.vision_ratio,
        "num_heads": sizes.vision_heads,
        "out_hidden_size": sizes.hidden,
    }


def _text3(sizes: Sizes) -> dict[str, Any]:
    """Since Qwen3 a head has a width of its own, and the three kinds of positions take turns in it."""
    text = text_config(sizes)
    text.pop("use_sliding_window")
    rope = {**text["rope_parameters"], "mrope_interleaved": True}
    return {**text, "head_dim": sizes.head, "rope_parameters": rope}


def _config(kind: Any, sizes: Sizes, text: dict[str, Any], vision: dict[str, Any]) -> Any:
    architecture = kind.__name__.removesuffix("Config") + "ForConditionalGeneration"
    return kind(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=sizes.tied,
        architectures=[architecture],
        **_TOKENS,
    )


QWEN2_VL = Family("qwen2_vl", 14, _qwen2_vl)
FAMILIES = {
    family.name: family
    for family in (
        QWEN2_VL,
        Family("qwen2_5_vl", 14, _qwen2_5_vl),
        Family("qwen3_vl", 16, _qwen3_vl, frame_by_frame=True),
        Family("qwen3_5", 16, _qwen3_5, frame_by_frame=True),
    )
}
