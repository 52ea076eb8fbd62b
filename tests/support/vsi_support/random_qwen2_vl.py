"""Qwen2-VLs of transformers with random weights, of any size, in place of published ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import Qwen2VLForConditionalGeneration

WORDS = 100
"""Ids below this one are words."""
VISION_START, VISION_END, IMAGE, VIDEO, EOS = 100, 101, 102, 103, 104
VOCABULARY = 128
CHANNELS = 3 * 2 * 14 * 14
"""Numbers in a patch: colours, frames, height, width."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model; tiny ones by default."""

    hidden: int = 64
    feed_forward: int = 96
    layers: int = 2
    heads: int = 4
    groups: int = 2
    """Key and value heads."""
    vision_layers: int = 2
    vision_width: int = 32
    vision_heads: int = 2
    vision_ratio: int = 2
    """Width of the tower's MLPs over that of its layers."""
    tied: bool = False
    """Whether the embedding serves as output layer."""
    vocabulary: int = VOCABULARY

    @property
    def head(self) -> int:
        """Width of an attention head."""
        return self.hidden // self.heads


# as published: number of layers, heads and groups, tower's depth and heads, tying; reduced: widths and vocabulary
NARROW_2B = Sizes(96, 160, 28, 12, 2, vision_layers=32, vision_width=64, vision_heads=16, tied=True)
NARROW_7B = Sizes(224, 256, 28, 28, 4, vision_layers=32, vision_width=64, vision_heads=16, tied=False)


def random_model(sizes: Sizes, *, sharp: bool = True) -> Qwen2VLForConditionalGeneration:
    """A model with random weights, always the same for the same arguments.

    Args:
        sizes: of the model.
        sharp: with larger weights than at initialisation, so that a wrong attention shows in a small model.
    """
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    config = Qwen2VLConfig(
        text_config=text_config(sizes),
        vision_config={
            "depth": sizes.vision_layers,
            "embed_dim": sizes.vision_width,
            "hidden_size": sizes.hidden,
            "num_heads": sizes.vision_heads,
            "mlp_ratio": sizes.vision_ratio,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=sizes.tied,
        architectures=["Qwen2VLForConditionalGeneration"],
    )
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    return sharpened(model) if sharp else model


def text_config(sizes: Sizes) -> dict[str, Any]:
    """The language model of Qwen2-VL, and of Qwen2.5-VL."""
    frequencies = sizes.head // 2
    height = frequencies * 3 // 8
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.feed_forward,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.groups,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "use_sliding_window": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [frequencies - 2 * height, height, height],
        },
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), EOS),
    }


def sharpened(model: Any) -> Any:
    """A model whose attention is sharper, and whose norms and biases are no longer all ones and zeros."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(4 if "proj" in name or "qkv" in name else 2)
    return model


def published_weights(model: Any, folder: Path) -> dict[str, Tensor]:
    """A model's weights under the names of a published checkpoint: as transformers writes them.

    Args:
        model: of transformers.
        folder: where the checkpoint goes.
    """
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")
