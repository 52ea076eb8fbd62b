"""A Qwen model on Megatron that also takes a packed batch, and gives log-probabilities at answers.

The forwards of one pipeline stage and of its attention layers are wrapped, on the instance, so that a packed batch goes
through DDP's and Float16Module's `__call__`. Positions go to megatron-core token by token, as "sbhd": only of "thd"
would it derive them anew. The layout reaches each layer's core attention as `packed_seq_params`, which megatron-core
hands over untouched, through recomputation too; so any core attention will do, TransformerEngine's or a local one.
Logits are computed where they are read, by megatron-core's own hook behind the decoder (`output_processor`, from 0.18
on).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.tensor_parallel import gather_from_sequence_parallel_region, scatter_to_sequence_parallel_region
from torch import Tensor, nn
from torch.nn import functional
from verl.utils.megatron.tensor_parallel import vocab_parallel_entropy, vocab_parallel_log_probs_from_logits

from verl_vsi.patches.module_forward import wrap_forward
from verl_vsi.sharing.attention import attend
from verl_vsi.sharing.log_probs import LogProbHead
from verl_vsi.sharing.packed_layout import PackedLayout
from verl_vsi.sharing.packing import PackedBatch
from verl_vsi.sharing.vision import KINDS, Visuals
from verl_vsi.sharing.vision_features import run_tower, scatter_features


@dataclass
class PackedLayoutParams(PackedSeqParams):
    """A packed batch's layout, on its way to the attention."""

    layout: PackedLayout | None = None


@dataclass(frozen=True)
class VocabParallelHead(LogProbHead):
    """Where the vocabulary is cut over tensor-parallel ranks: logits are (N, vocabulary / ranks)."""

    def outputs(self, logits: Callable[[], Tensor], labels: Tensor) -> dict[str, Tensor]:
        """As verl's Megatron engine computes them.

        Args:
            logits: makes them, (N, vocabulary / ranks) float32, scaled by the temperature.
            labels: (N,).
        """
        if self.entropy is None:
            return {"log_probs": vocab_parallel_log_probs_from_logits(logits(), labels)}
        own = logits()
        with self.entropy_gradient():
            entropy = vocab_parallel_entropy(own)
        own = own.clone()  # the next one overwrites what it is given
        return {"log_probs": vocab_parallel_log_probs_from_logits(own, labels), "entropy": entropy}


def log_prob_head(head: LogProbHead) -> LogProbHead:
    """The head for this rank's part of the vocabulary."""
    if parallel_state.get_tensor_model_parallel_world_size() == 1:
        return head
    return VocabParallelHead(head.temperature, head.entropy)


def install(model: Any) -> None:
    """Let `model(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)` return what the head computes.

    Args:
        model: one pipeline stage, without wrappers. All but the last return hidden states.
    """
    wrap_forward(model, _model_forward)
    for layer in model.language_model.decoder.layers:
        wrap_forward(layer.self_attention.core_attention, partial(_attention_forward, _scale(layer.self_attention)))


def _scale(attention: Any) -> float:
    return getattr(attention.core_attention, "softmax_scale", None) or attention.hidden_size_per_attention_head**-0.5


def _model_forward(
    model: Any,
    upstream: Any,
    *args: Any,
    vsi_packed: PackedBatch | None = None,
    vsi_visuals: Visuals | None = None,
    vsi_log_prob_head: LogProbHead | None = None,
    **kwargs: Any,
) -> Any:
    if vsi_packed is None or vsi_visuals is None or vsi_log_prob_head is None:
        return upstream(*args, **kwargs)
    ids, positions = (_divisible(model.config, tensor) for tensor in (vsi_packed.ids, vsi_packed.positions))
    return model.language_model(
        input_ids=None,
        position_ids=positions,
        attention_mask=None,
        decoder_input=_decoder_input(model, ids, vsi_visuals) if model.pre_process else None,
        packed_seq_params=PackedLayoutParams(qkv_format="sbhd", layout=vsi_packed.layout),
        output_processor=_read,
        output_processor_context=(vsi_packed, vsi_log_prob_head),
    )


def _divisible(config: Any, tensor: Tensor) -> Tensor:
    """(..., T) with zeros behind, where sequence parallelism cuts T into equal parts."""
    parts = config.tensor_model_parallel_size if config.sequence_parallel else 1
    return functional.pad(tensor, (0, -tensor.shape[-1] % parts))


def _decoder_input(model: Any, ids: Tensor, visuals: Visuals) -> Tensor:
    """(T, 1, hidden), or this rank's part of the sequence: embeddings, with features in their places."""
    embeddings = model.language_model.embedding(input_ids=ids, position_ids=None).transpose(0, 1)
    features = visuals.features(partial(run_tower, model.visual))
    for kind in KINDS:
        if items := features.by_kind[kind]:
            token = getattr(model.config, f"{kind}_token_id")
            embeddings = scatter_features(embeddings, ids, token, torch.cat(items), kind)
    hidden = (embeddings + features.nothing).transpose(0, 1).contiguous()
    return scatter_to_sequence_parallel_region(hidden) if model.config.sequence_parallel else hidden


def _attention_forward(
    scale: float,
    _: nn.Module,
    upstream: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *args: Any,
    packed_seq_params: PackedSeqParams | None = None,
    **kwargs: Any,
) -> Tensor:
    """Of (T, 1, heads, width) each, (T, 1, heads * width)."""
    if not isinstance(packed_seq_params, PackedLayoutParams) or packed_seq_params.layout is None:
        return upstream(query, key, value, *args, packed_seq_params=packed_seq_params, **kwargs)
    layout = packed_seq_params.layout
    tokens = layout.prompt_tokens + layout.answer_tokens
    out = attend(query[:tokens, 0], key[:tokens, 0], value[:tokens, 0], layout, scale).flatten(1)
    return functional.pad(out, (0, 0, 0, len(query) - tokens))[:, None]


def _read(
    *,
    hidden_states: Tensor,
    output_layer: Any,
    output_weight: Tensor | None,
    context: tuple[PackedBatch, LogProbHead],
    config: Any,
    **_: Any,
) -> dict[str, Tensor]:
    """What the log-prob head makes of hidden states (T, 1, hidden) where they are read, as megatron-core calls it."""
    packed, head = context
    if config.sequence_parallel:  # its backward takes this rank's part of a gradient that is whole on every rank
        hidden_states = gather_from_sequence_parallel_region(hidden_states, tensor_parallel_output_grad=False)

    def logits(hidden: Tensor) -> Tensor:
        with _whole_sequence(output_layer):
            return output_layer(hidden[:, None], weight=output_weight)[0][:, 0]

    return head(logits, hidden_states[packed.read_index, 0], packed.labels)


@contextmanager
def _whole_sequence(output_layer: Any) -> Iterator[None]:
    """An output layer whose input is on every rank what it is on any: not a part of the sequence."""
    before, output_layer.sequence_parallel = output_layer.sequence_parallel, False
    try:
        yield
    finally:
        output_layer.sequence_parallel = before
