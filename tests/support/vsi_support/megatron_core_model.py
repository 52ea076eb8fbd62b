"""Qwen2-VL with megatron-core alone, without Megatron-Bridge: for tests, and to compare on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.fusions import fused_softmax
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from vsi_support.weight_conversion import Heads, to_megatron

from verl_vsi.data_adapters.positions import PositionRule
from verl_vsi.megatron.model_inputs import vision_tower
from verl_vsi.megatron.qwen2_vl import Qwen2VLModel

if TYPE_CHECKING:
    from megatron.core.transformer.spec_utils import ModuleSpec


def core_model(config: Any, spec: ModuleSpec, **overrides: Any) -> Qwen2VLModel:
    """Qwen2-VL of a Hugging Face config, with random weights.

    Args:
        config: of the checkpoint.
        spec: layers of the language model: megatron-core's local ones, or TransformerEngine's.
        overrides: of megatron-core's TransformerConfig.
    """
    text = config.text_config
    settings = transformer_config(config, **overrides)
    language_model = GPTModel(
        settings,
        spec,
        vocab_size=text.vocab_size,
        max_sequence_length=text.max_position_embeddings,
        share_embeddings_and_output_weights=config.tie_word_embeddings,
        position_embedding_type="mrope",
        rotary_base=int(text.rope_parameters["rope_theta"]),
        scatter_embedding_sequence_parallel=False,
        # a GPU script compares whole logits; with one rank they are whole anyway
        parallel_output=False,
    )
    visual = vision_tower(config.vision_config, settings.params_dtype)
    rule = PositionRule(config.image_token_id, config.video_token_id, config.vision_config.spatial_merge_size)
    return Qwen2VLModel(settings, language_model, visual, rule)


def transformer_config(config: Any, **overrides: Any) -> TransformerConfig:
    """The language model's settings, as Megatron-Bridge's provider makes them.

    Args:
        config: of the checkpoint.
        overrides: of megatron-core's TransformerConfig.
    """
    text = config.text_config
    settings = {
        "num_layers": text.num_hidden_layers,
        "hidden_size": text.hidden_size,
        "ffn_hidden_size": text.intermediate_size,
        "num_attention_heads": text.num_attention_heads,
        "num_query_groups": text.num_key_value_heads,
        "layernorm_epsilon": text.rms_norm_eps,
        "mrope_section": list(text.rope_parameters["mrope_section"]),
        "normalization": "RMSNorm",
        "gated_linear_unit": True,
        "activation_func": torch.nn.functional.silu,
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "tensor_model_parallel_size": parallel_state.get_tensor_model_parallel_world_size(),
    }
    return TransformerConfig(**settings | overrides)


def heads(config: Any) -> Heads:
    """Shape of the attention layers of a Hugging Face config."""
    text = config.text_config
    return Heads(text.num_attention_heads, text.num_key_value_heads, text.hidden_size // text.num_attention_heads)


def load(model: Qwen2VLModel, weights: Mapping[str, Tensor], config: Any) -> None:
    """Put a checkpoint's weights into the model of one rank, or this rank's part of them.

    Args:
        model: as `core_model` makes it.
        weights: under the published names.
        config: of the checkpoint.
    """
    rank = parallel_state.get_tensor_model_parallel_rank()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in to_megatron(weights, parameters, heads(config)).items():
            parameters[name].copy_(shard(name, tensor, parameters[name].shape, rank))


def shard(name: str, tensor: Tensor, shape: torch.Size, rank: int) -> Tensor:
    """A rank's part of a weight, told from the shape that the rank has for it.

    Query groups and vocabulary lie one after the other, so a slice is right for them; of gate above up, each is cut.

    Args:
        name: of the weight, in Megatron.
        tensor: the whole weight.
        shape: of the rank's part.
        rank: among the tensor-parallel ones.
    """
    if tensor.shape == shape:
        return tensor
    dimension = next(axis for axis, size in enumerate(shape) if size != tensor.shape[axis])
    halves = tensor.chunk(2) if "linear_fc1" in name else [tensor]
    parts = tensor.shape[dimension] // shape[dimension]
    return torch.cat([half.chunk(parts, dim=dimension)[rank] for half in halves])


@contextmanager
def without_gpu() -> Iterator[None]:
    """Let megatron-core's local layers run on a CPU.

    They expect a GPU in three places: the device of the rotary frequencies, that of the causal mask, and the random
    state of dropout (which is 0 here).
    """
    states = type("NoDropout", (), {"fork": lambda self, name="": nullcontext()})()
    with (
        patch.object(torch.cuda, "current_device", lambda: torch.device("cpu")),
        patch.object(fused_softmax, "get_default_causal_mask", _causal_mask),
        patch.object(tensor_parallel, "get_cuda_rng_tracker", lambda: states),
    ):
        yield


def _causal_mask(length: int) -> Tensor:
    """True where a later token would be seen, (length, length)."""
    return torch.ones(length, length, dtype=torch.bool).triu(diagonal=1)
