"""Which Hugging Face weight is which Megatron weight: one table, for the bridge and for the tests.

Hugging Face's side is the layout of the published checkpoints (`model.layers...`, `visual...`), which transformers
writes and vLLM reads. Megatron's side has two names for a layer's norms: TransformerEngine fuses them into the linear
layer that follows, megatron-core's local layers keep them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How the Hugging Face tensors become the Megatron tensor."""

    SAME = "as it is; cut along the axis of the layer that holds it"
    REPLICATED = "as it is, whole on every rank"
    QKV = "query, key and value, interleaved by query group"
    GATED = "gate above up, cut each for itself"


@dataclass(frozen=True)
class WeightMapping:
    """One weight. `*` stands for a layer's number, `**` for any rest of the name."""

    kind: Kind
    megatron: str
    huggingface: tuple[str, ...]


_LAYER = "language_model.decoder.layers.*"
_HF_LAYER = "model.layers.*"
_ATTENTION = f"{_HF_LAYER}.self_attn"

TABLE: tuple[WeightMapping, ...] = (
    WeightMapping(Kind.REPLICATED, "visual.**", ("visual.**",)),
    WeightMapping(Kind.SAME, "language_model.embedding.word_embeddings.weight", ("model.embed_tokens.weight",)),
    WeightMapping(
        Kind.SAME, f"{_LAYER}.self_attention.linear_qkv.layer_norm_weight", (f"{_HF_LAYER}.input_layernorm.weight",)
    ),
    WeightMapping(Kind.SAME, f"{_LAYER}.input_layernorm.weight", (f"{_HF_LAYER}.input_layernorm.weight",)),
    *(
        WeightMapping(
            Kind.QKV,
            f"{_LAYER}.self_attention.linear_qkv.{part}",
            tuple(f"{_ATTENTION}.{letter}_proj.{part}" for letter in "qkv"),
        )
        for part in ("weight", "bias")
    ),
    WeightMapping(Kind.SAME, f"{_LAYER}.self_attention.linear_proj.weight", (f"{_ATTENTION}.o_proj.weight",)),
    WeightMapping(
        Kind.SAME, f"{_LAYER}.mlp.linear_fc1.layer_norm_weight", (f"{_HF_LAYER}.post_attention_layernorm.weight",)
    ),
    WeightMapping(Kind.SAME, f"{_LAYER}.pre_mlp_layernorm.weight", (f"{_HF_LAYER}.post_attention_layernorm.weight",)),
    WeightMapping(
        Kind.GATED,
        f"{_LAYER}.mlp.linear_fc1.weight",
        (f"{_HF_LAYER}.mlp.gate_proj.weight", f"{_HF_LAYER}.mlp.up_proj.weight"),
    ),
    WeightMapping(Kind.SAME, f"{_LAYER}.mlp.linear_fc2.weight", (f"{_HF_LAYER}.mlp.down_proj.weight",)),
    WeightMapping(Kind.SAME, "language_model.decoder.final_layernorm.weight", ("model.norm.weight",)),
    WeightMapping(Kind.SAME, "language_model.output_layer.weight", ("lm_head.weight",)),
)


def language_names(layers: int, tied: bool) -> Iterator[str]:
    """Hugging Face names of the language model's weights.

    Args:
        layers: number of transformer layers.
        tied: whether the embedding serves as output layer (2B) or not (7B).
    """
    for row in TABLE:
        if row.kind is Kind.REPLICATED or (tied and row.huggingface == ("lm_head.weight",)):
            continue
        for name in row.huggingface:
            yield from (name.replace("*", str(layer)) for layer in range(layers)) if "*" in name else (name,)


def missing_weights(checkpoint: Iterable[str], layers: int, tied: bool) -> list[str]:
    """Names that a checkpoint of this model must have and does not, sorted.

    Args:
        checkpoint: names of the tensors in the checkpoint.
        layers: number of transformer layers.
        tied: whether embedding and output layer are one.
    """
    names = set(checkpoint)
    absent = set(language_names(layers, tied)) - names
    if not any(name.startswith("visual.") for name in names):
        absent.add("visual.*")
    return sorted(absent)
