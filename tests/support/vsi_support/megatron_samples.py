"""Small Qwen2-VLs of transformers and batches for them: what the tests, the bridge's check and the GPU script share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import Qwen2VLForConditionalGeneration

IMAGE, VIDEO, START, END, PAD = 90, 91, 92, 93, 94
VOCABULARY = 96
PATCH = 3 * 2 * 14 * 14
"""Values in a patch: colours, frames, height, width."""


@dataclass(frozen=True)
class Shape:
    """Proportions of a model."""

    hidden: int = 64
    feed_forward: int = 96
    layers: int = 2
    heads: int = 4
    groups: int = 2
    vision_layers: int = 2
    vision_width: int = 32
    vision_heads: int = 2
    vision_ratio: int = 2
    tied: bool = False
    vocabulary: int = VOCABULARY

    @property
    def head(self) -> int:
        """Width of an attention head."""
        return self.hidden // self.heads


# as published: number of layers, heads and groups, tower's depth and heads, tying; reduced: widths and vocabulary
SHAPE_2B = Shape(96, 160, 28, 12, 2, vision_layers=32, vision_width=64, vision_heads=16, tied=True)
SHAPE_7B = Shape(224, 256, 28, 28, 4, vision_layers=32, vision_width=64, vision_heads=16, tied=False)


def hf_model(shape: Shape, *, sharp: bool = True) -> Qwen2VLForConditionalGeneration:
    """A random Qwen2-VL of transformers.

    Args:
        shape: its proportions.
        sharp: with larger weights than at initialisation, so that a wrong attention shows in a small model.
    """
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    config = Qwen2VLConfig(
        text_config=_text_config(shape),
        vision_config={
            "depth": shape.vision_layers,
            "embed_dim": shape.vision_width,
            "hidden_size": shape.hidden,
            "num_heads": shape.vision_heads,
            "mlp_ratio": shape.vision_ratio,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "in_channels": 3,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=shape.tied,
        architectures=["Qwen2VLForConditionalGeneration"],
    )
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    return _sharpened(model) if sharp else model


def _sharpened(model: Qwen2VLForConditionalGeneration) -> Qwen2VLForConditionalGeneration:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms and biases, which are all ones and zeros
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(4 if "proj" in name or "qkv" in name else 2)
    return model


def _text_config(shape: Shape) -> dict[str, Any]:
    pairs = shape.head // 2
    height = pairs * 3 // 8
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.groups,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "use_sliding_window": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [pairs - 2 * height, height, height],
        },
        "bos_token_id": PAD,
        "eos_token_id": PAD,
        "pad_token_id": PAD,
    }


def hf_weights(model: Any, folder: Path) -> dict[str, Tensor]:
    """A model's weights under the names of a published checkpoint: as transformers writes them."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


@dataclass(frozen=True)
class Batch:
    """Rows of unequal length, padded on the right."""

    input_ids: Tensor
    """(B, S)"""
    keep: Tensor
    """(B, S), false for padding."""
    vision: dict[str, Tensor]
    """Pixel values and grids, under the names of the processor."""

    @property
    def types(self) -> Tensor:
        """As transformers' processor marks tokens: 0 text, 1 image, 2 video."""
        return (self.input_ids == IMAGE).int() + (self.input_ids == VIDEO).int() * 2


Grid = tuple[int, int, int]
Item = int | tuple[int, Grid]
"""A length of text, or the id of a vision token with a grid in patches."""


def make_batch(rows: list[list[Item]], *, vocabulary: int = IMAGE, seed: int = 1) -> Batch:
    """A batch with random text and random patches.

    Args:
        rows: what each row is made of, in order.
        vocabulary: ids of text are below it.
        seed: of text and patches.
    """
    random = torch.Generator().manual_seed(seed)
    sequences = [torch.cat([_ids(item, vocabulary, random) for item in row]) for row in rows]
    input_ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
    lengths = torch.tensor([len(ids) for ids in sequences])
    keep = torch.arange(input_ids.shape[1]) < lengths[:, None]
    vision: dict[str, Tensor] = {}
    for token, pixels, grid_name in (
        (IMAGE, "pixel_values", "image_grid_thw"),
        (VIDEO, "pixel_values_videos", "video_grid_thw"),
    ):
        grids = [item[1] for row in rows for item in row if not isinstance(item, int) and item[0] == token]
        if grids:
            vision[grid_name] = torch.tensor(grids)
            vision[pixels] = torch.randn(int(vision[grid_name].prod(-1).sum()), PATCH, generator=random)
    return Batch(input_ids, keep, vision)


def _ids(item: Item, vocabulary: int, random: torch.Generator) -> Tensor:
    if isinstance(item, int):
        return torch.randint(0, vocabulary, (item,), generator=random)
    token, (time, height, width) = item
    return torch.tensor([START, *[token] * (time * height * width // 4), END])
