"""The sizes of a model, from its Hugging Face config or, for those that `model=` names, without a download.

Weights are counted by arithmetic over the config; norms, biases and what a linear-attention layer keeps beside its
matrices, together under a thousandth, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_QWEN2_TOWER = {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "patch_size": 14}
_QWEN2_5_TOWER = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "patch_size": 14}
_QWEN3_TOWER = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "patch_size": 16}
_DEEPSTACK = {"deepstack_visual_indexes": [5, 11, 17]}


def _config(
    family: str,
    text: tuple[int, int, int, int, int, int],
    vocabulary: int,
    tower: Mapping[str, Any],
    *,
    tied: bool,
    **others: Any,
) -> dict[str, Any]:
    """A config with what is counted.

    Args:
        family: `model_type`.
        text: hidden and feed-forward width, layers, heads, key-value heads, width of a head.
        vocabulary: rows of the embedding.
        tower: `vision_config`.
        tied: whether the embedding is the output layer too.
        others: further keys of the language model.
    """
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    return {
        "model_type": family,
        **dict(zip((*names, "head_dim"), text, strict=True)),
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "vision_config": dict(tower),
        **others,
    }


PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2-VL-2B-Instruct": _config("qwen2_vl", (1536, 8960, 28, 12, 2, 128), 151936, _QWEN2_TOWER, tied=True),
    "Qwen/Qwen2-VL-7B-Instruct": _config("qwen2_vl", (3584, 18944, 28, 28, 4, 128), 152064, _QWEN2_TOWER, tied=False),
    "Qwen/Qwen2.5-VL-3B-Instruct": _config(
        "qwen2_5_vl", (2048, 11008, 36, 16, 2, 128), 151936, _QWEN2_5_TOWER, tied=True
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": _config(
        "qwen2_5_vl", (3584, 18944, 28, 28, 4, 128), 152064, _QWEN2_5_TOWER, tied=False
    ),
    "Qwen/Qwen3-VL-2B-Instruct": _config(
        "qwen3_vl", (2048, 6144, 28, 16, 8, 128), 151936, _QWEN3_TOWER | _DEEPSTACK, tied=True
    ),
    "Qwen/Qwen3-VL-4B-Instruct": _config(
        "qwen3_vl", (2560, 9728, 36, 32, 8, 128), 151936, _QWEN3_TOWER | _DEEPSTACK, tied=True
    ),
    "Qwen/Qwen3-VL-8B-Instruct": _config(
        "qwen3_vl",
        (4096, 12288, 36, 32, 8, 128),
        151936,
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 16}
        | {"deepstack_visual_indexes": [8, 16, 24]},
        tied=False,
    ),
    "Qwen/Qwen3.5-2B": _config(
        "qwen3_5",
        (2048, 6144, 24, 8, 2, 256),
        248320,
        _QWEN3_TOWER,
        tied=True,
        layer_types=["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 6,
        linear_num_key_heads=16,
        linear_num_value_heads=16,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
    ),
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
    attention_layers: int
    """Layers that keep keys and values of every token; a linear-attention layer keeps a state of fixed size."""
    feed_forward: int
    tied: bool
    """Whether the embedding serves as output layer."""
    vision_layers: int
    vision_width: int

    @property
    def kv_numbers(self) -> int:
        """Keys and values that vLLM keeps of a token."""
        return self.kv_width * self.attention_layers

    @property
    def layer_parameters(self) -> int:
        """Of one layer of the language model."""
        return (self.text_parameters - self.vocabulary * self.hidden * (1 if self.tied else 2)) // self.layers

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters on every linear layer of the language model, which verl calls all-linear."""
        attention = 4 * self.hidden + 2 * (self.hidden + self.kv_width // 2)
        return self.layers * rank * (attention + 3 * (self.hidden + self.feed_forward))

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return self.text_parameters + self.vision_parameters


def config_of(model: str) -> Mapping[str, Any] | None:
    """A model's `config.json`, from its folder, this module or the Hugging Face cache; None where it is in none.

    Nothing is fetched.

    Args:
        model: a folder, or a name on the hub.
    """
    path = Path(model).expanduser() / "config.json"
    if not path.is_file() and model in PUBLISHED:
        return PUBLISHED[model]
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            path = try_to_load_from_cache(model, "config.json")
        except HFValidationError:  # a folder that is not there
            return None
    return json.loads(Path(path).read_text(encoding="utf-8")) if isinstance(path, str | Path) else None


def model_family(model: str) -> str | None:
    """`model_type` of a model's config; None where it is not at hand (see `config_of`)."""
    config = config_of(model)
    return None if config is None else config.get("model_type")


def patch_size(model: str) -> int | None:
    """Side of the vision tower's patches in pixels; None where the model's config is not at hand."""
    return ((config_of(model) or {}).get("vision_config") or {}).get("patch_size")


def shape_of(model: str) -> ModelShape:
    """The shape of a folder, or of a published or cached model.

    Raises:
        ValueError: none of these.
    """
    config = config_of(model)
    if config is None:
        raise ValueError(
            f"no sizes for {model}: give vsi.model as a folder with config.json, or {' or '.join(PUBLISHED)}"
        )
    return from_config(config)


def from_config(config: Mapping[str, Any]) -> ModelShape:
    """Count the weights."""
    text = {**config, **config.get("text_config", {})}
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    head = text.get("head_dim") or hidden // heads
    kv_width = 2 * text["num_key_value_heads"] * head
    layers = text["num_hidden_layers"]
    linear = sum(kind == "linear_attention" for kind in text.get("layer_types") or ())
    # a hybrid model's attention has an output gate, as wide as its queries
    attention = hidden * (heads * head * (3 if linear else 2) + kv_width)
    weights = (layers - linear) * attention + linear * _linear_attention(text)
    embeddings = text["vocab_size"] * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return ModelShape(
        text_parameters=weights + layers * 3 * hidden * text["intermediate_size"] + embeddings,
        vision_parameters=_tower(config["vision_config"], hidden),
        layers=layers,
        hidden=hidden,
        vocabulary=text["vocab_size"],
        kv_width=kv_width,
        attention_layers=layers - linear,
        feed_forward=text["intermediate_size"],
        tied=bool(config.get("tie_word_embeddings")),
        vision_layers=config["vision_config"]["depth"],
        vision_width=_width(config["vision_config"]),
    )


def _linear_attention(text: Mapping[str, Any]) -> int:
    """Of one Gated DeltaNet layer: queries, keys, values, gate, output, and two numbers a head and token."""
    if "linear_num_key_heads" not in text:
        return 0
    keys = text["linear_num_key_heads"] * text["linear_key_head_dim"]
    values = text["linear_num_value_heads"] * text["linear_value_head_dim"]
    return text["hidden_size"] * (2 * keys + 3 * values + 2 * text["linear_num_value_heads"])


def _width(vision: Mapping[str, Any]) -> int:
    """Of a tower's layers."""
    return vision.get("embed_dim") or vision["hidden_size"]


def _tower(vision: Mapping[str, Any], hidden: int) -> int:
    """Qwen2-VL calls the width `embed_dim`; Qwen2.5-VL has gated feed-forwards, of three matrices."""
    width = _width(vision)
    inner = vision.get("intermediate_size") or int(vision.get("mlp_ratio", 4) * width)
    patch = vision.get("patch_size", 14)
    gated = patch == 14 and "embed_dim" not in vision
    block = 4 * width * width + (3 if gated else 2) * width * inner
    mergers = 1 + len(vision.get("deepstack_visual_indexes") or ())
    merger = (4 * width) ** 2 + 4 * width * hidden
    learned_positions = 0 if patch == 14 else vision.get("num_position_embeddings", 2304) * width
    return vision["depth"] * block + mergers * merger + 3 * 2 * patch**2 * width + learned_positions
