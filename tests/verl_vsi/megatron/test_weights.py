"""The table of weights: complete and bit-exact both ways, for the published proportions at reduced width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from vsi_support.random_qwen2_vl import NARROW_2B, NARROW_7B, Sizes
from vsi_support.weight_conversion import Heads, mapping_of, to_huggingface, to_megatron

from verl_vsi.megatron import weights as table

# Qwen/Qwen2-VL-2B-Instruct and -7B-Instruct: tensors in their model.safetensors.index.json.
# 28 layers of 12, embedding, norm; 32 blocks of 12, patch embedding, merger of 6; 7B has an output layer besides
PUBLISHED = {"2B": 28 * 12 + 2 + 32 * 12 + 1 + 6, "7B": 28 * 12 + 2 + 32 * 12 + 1 + 6 + 1}


@pytest.fixture(scope="module", params=[("2B", NARROW_2B), ("7B", NARROW_7B)], ids=["2B", "7B"])
def sized(request: pytest.FixtureRequest, make_pair: Callable[..., Any]) -> tuple[str, Sizes, Any]:
    name, sizes = request.param
    return name, sizes, make_pair(sizes)


def test_weights_go_in_and_come_out_bit_by_bit(sized: tuple[str, Sizes, Any]) -> None:
    name, sizes, pair = sized
    inside = {name: parameter.detach() for name, parameter in pair.megatron.named_parameters()}
    outside = to_huggingface(inside, Heads(sizes.heads, sizes.groups, sizes.head))
    assert len(pair.weights) == PUBLISHED[name]
    assert sorted(outside) == sorted(pair.weights)
    assert [key for key in outside if not torch.equal(outside[key], pair.weights[key])] == []


def test_each_megatron_weight_is_another_one(sized: tuple[str, Sizes, Any]) -> None:
    """No two parameters come from one tensor, and the model has no state beside its parameters."""
    _, _, pair = sized
    parameters = dict(pair.megatron.named_parameters())
    sources = [name for key in parameters for name in (mapping_of(key) or pytest.fail(key)).huggingface]
    assert len(sources) == len(set(sources))
    states = {key for key in pair.megatron.state_dict() if not key.endswith("_extra_state")}
    assert states <= parameters.keys() | {"language_model.output_layer.weight"}


def test_a_complete_checkpoint_misses_nothing(sized: tuple[str, Sizes, Any]) -> None:
    _, sizes, pair = sized
    assert table.missing_weights(pair.weights, sizes.layers, sizes.tied) == []


@pytest.mark.parametrize(
    ("gone", "reported"),
    [
        ("model.layers.27.mlp.up_proj.weight", "model.layers.27.mlp.up_proj.weight"),
        ("model.norm.weight", "model.norm.weight"),
        ("visual.", "visual.*"),
    ],
)
def test_a_weight_that_a_checkpoint_lacks_is_named(sized: tuple[str, Sizes, Any], gone: str, reported: str) -> None:
    _, sizes, pair = sized
    rest = [name for name in pair.weights if not name.startswith(gone)]
    assert table.missing_weights(rest, sizes.layers, sizes.tied) == [reported]


def test_an_output_layer_is_missed_only_where_it_is_not_tied() -> None:
    names = [*table.language_names(2, tied=True), "visual.patch_embed.proj.weight"]
    assert table.missing_weights(names, 2, tied=True) == []
    assert table.missing_weights(names, 2, tied=False) == ["lm_head.weight"]


@pytest.mark.parametrize(
    ("name", "kind", "huggingface"),
    [
        ("visual.blocks.31.attn.qkv.weight", table.Kind.REPLICATED, ("visual.blocks.31.attn.qkv.weight",)),
        (
            "language_model.decoder.layers.12.self_attention.linear_qkv.bias",
            table.Kind.QKV,
            tuple(f"model.layers.12.self_attn.{letter}_proj.bias" for letter in "qkv"),
        ),
        (
            "language_model.decoder.layers.0.mlp.linear_fc1.layer_norm_weight",
            table.Kind.SAME,
            ("model.layers.0.post_attention_layernorm.weight",),
        ),
        (
            "language_model.decoder.layers.0.self_attention.linear_qkv.layer_norm_weight",
            table.Kind.SAME,
            ("model.layers.0.input_layernorm.weight",),
        ),
    ],
    ids=["tower", "query, key and value", "norm fused into the feed-forward", "norm fused into attention"],
)
def test_a_row_is_found_by_the_megatron_name(name: str, kind: table.Kind, huggingface: tuple[str, ...]) -> None:
    assert mapping_of(name) == table.WeightMapping(kind, name, huggingface)


@pytest.mark.parametrize(
    "name", ["decoder.layers.0.mlp.linear_fc2.weight", "language_model.decoder.layers.x.mlp.linear_fc2.weight"]
)
def test_a_name_of_another_model_is_not_found(name: str) -> None:
    assert mapping_of(name) is None
    with pytest.raises(KeyError, match="no row of"):
        to_megatron({}, [name], Heads(4, 2, 16))


def test_query_groups_are_interleaved_as_megatron_wants_them() -> None:
    """Two groups of two query heads of width one: q0 q1 k0 v0, q2 q3 k1 v1."""
    parts = {"q": [0, 1, 2, 3], "k": [10, 11], "v": [20, 21]}
    name = "language_model.decoder.layers.0.self_attention.linear_qkv.bias"
    huggingface = {f"model.layers.0.self_attn.{letter}_proj.bias": torch.tensor(ids) for letter, ids in parts.items()}
    fused = to_megatron(huggingface, [name], Heads(4, 2, 1))[name]
    assert fused.tolist() == [0, 1, 10, 20, 2, 3, 11, 21]


def test_transformers_writes_the_names_that_the_table_has(sized: tuple[str, Sizes, Any], tmp_path: Path) -> None:
    _, sizes, pair = sized
    language: list[str] = [name for name in pair.weights if not name.startswith("visual.")]
    assert set(language) == set(table.language_names(sizes.layers, sizes.tied))
    tensors: list[Tensor] = list(pair.weights.values())
    assert all(tensor.dtype == torch.float32 for tensor in tensors)
