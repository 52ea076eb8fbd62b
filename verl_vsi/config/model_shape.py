"""The sizes of a Qwen2-VL model, from its Hugging Face config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TOWER = {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4}
PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2-VL-2B-Instruct": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "vision_config": _TOWER,
    },
    "Qwen/Qwen2-VL-7B-Instruct": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
        "vision_config": _TOWER,
    },
}
"""From the models' `config.json` on the hub, so that an estimate needs no download."""


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on."""

    text_parameters: int
    vision_parameters: int
    layers: int
    hidden: int
    vocabulary: int
    kv_width: int
    """Key and value numbers of a token in one layer."""
    feed_forward: int
    tied: bool
    """Whether the embedding serves as output layer."""
    vision_layers: int
    vision_width: int

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters on every linear layer of the language model, which verl calls all-linear."""
        attention = 4 * self.hidden + 2 * (self.hidden + self.kv_width // 2)
        return self.layers * rank * (attention + 3 * (self.hidden + self.feed_forward))

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return self.text_parameters + self.vision_parameters


def shape_of(model: str) -> ModelShape:
    """The shape of a folder or of a published model.

    Raises:
        ValueError: neither.
    """
    path = Path(model).expanduser() / "config.json"
    if path.is_file():
        return from_config(json.loads(path.read_text(encoding="utf-8")))
    if model in PUBLISHED:
        return from_config(PUBLISHED[model])
    raise ValueError(f"no sizes for {model}: give vsi.model as a folder with config.json, or {' or '.join(PUBLISHED)}")


def from_config(config: Mapping[str, Any]) -> ModelShape:
    """Count the weights; norms and biases, under a thousandth, are left out."""
    text = {**config, **config.get("text_config", {})}
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    kv_width = 2 * text["num_key_value_heads"] * (text.get("head_dim") or hidden // heads)
    layer = 2 * hidden * hidden + hidden * kv_width + 3 * hidden * text["intermediate_size"]
    embeddings = text["vocab_size"] * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return ModelShape(
        text_parameters=text["num_hidden_layers"] * layer + embeddings,
        vision_parameters=_tower(config["vision_config"], hidden),
        layers=text["num_hidden_layers"],
        hidden=hidden,
        vocabulary=text["vocab_size"],
        kv_width=kv_width,
        feed_forward=text["intermediate_size"],
        tied=bool(config.get("tie_word_embeddings")),
        vision_layers=config["vision_config"]["depth"],
        vision_width=config["vision_config"]["embed_dim"],
    )


def _tower(vision: Mapping[str, Any], hidden: int) -> int:
    width = vision["embed_dim"]
    block = (4 + 2 * vision.get("mlp_ratio", 4)) * width * width
    merger = (4 * width) ** 2 + 4 * width * hidden
    return vision["depth"] * block + merger + 3 * 2 * 14 * 14 * width
