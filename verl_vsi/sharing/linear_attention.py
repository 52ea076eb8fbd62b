r"""Linear attention (Gated DeltaNet) of a packed batch: a prompt's state is handed on to every one of its answers.

Such a layer remembers by two things what came before a token: the last inputs of a short convolution, and a matrix that
each token decays and corrects (Yang, Kautz and Hatamizadeh 2024, arXiv:2412.06464, section 3.1). With keys $k_t$,
values $v_t$, a decay $\alpha_t$ and a step size $\beta_t$,

$$S_t = S_{t-1} \, \alpha_t (I - \beta_t k_t k_t^\top) + \beta_t v_t k_t^\top.$$

So prompts run from nothing, and each answer from its prompt's memory. Backwards, the gradients of all answers meet in
that memory and go on into the prompt. The layer's own kernel is called for both, with its initial state given and its
final one taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from verl_vsi.sharing.packed_layout import PackedLayout, Segments


@dataclass(frozen=True)
class Memory:
    """What a layer knows after each of N stretches of tokens.

    Attributes:
        conv: last inputs of the convolution (N, kernel - 1, channels).
        state: of the recurrence (N, heads, key, value); None where nothing came before.
    """

    conv: Tensor
    state: Tensor | None

    def of(self, stretches: Sequence[int]) -> Memory:
        """Memories of these stretches, repeated where one is named again."""
        index = torch.tensor(stretches, device=self.conv.device)
        return Memory(self.conv[index], None if self.state is None else self.state[index])


@dataclass(frozen=True)
class LinearInputs:
    """What a layer computes of each token alone.

    Attributes:
        mixed: queries, keys and values before the convolution (T, channels).
        step: the step size, 0 to 1 (T, heads).
        log_decay: logarithm of the decay, float32 (T, heads).
    """

    mixed: Tensor
    step: Tensor
    log_decay: Tensor

    @classmethod
    def of(cls, layer: Any, hidden: Tensor) -> LinearInputs:
        """As transformers' `Qwen3_5GatedDeltaNet` computes them.

        Args:
            layer: the linear attention.
            hidden: (T, hidden).
        """
        decay = layer.A_log.float().exp() * functional.softplus(layer.in_proj_a(hidden).float() + layer.dt_bias)
        return cls(layer.in_proj_qkv(hidden), layer.in_proj_b(hidden).sigmoid(), -decay)

    def padded(self, stretches: Segments) -> LinearInputs:
        """Stretch by stretch (N, longest, ...), zeros behind the shorter ones.

        A token of zeros neither decays a state (its logarithm is zero) nor corrects it (its step is zero).
        """
        parts = (list(x.split(stretches.lengths)) for x in (self.mixed, self.step, self.log_decay))
        return LinearInputs(*(pad_sequence(part, batch_first=True) for part in parts))

    def halves(self, tokens: int) -> tuple[LinearInputs, LinearInputs]:
        """The first tokens, and the others."""
        inputs = (self.mixed, self.step, self.log_decay)
        return LinearInputs(*(x[:tokens] for x in inputs)), LinearInputs(*(x[tokens:] for x in inputs))


def attend_linearly(layer: Any, hidden: Tensor, layout: PackedLayout) -> Tensor:
    """Linear attention of a packed batch.

    Args:
        layer: transformers' `Qwen3_5GatedDeltaNet`.
        hidden: (1, T, hidden).
        layout: lengths of prompts and answers, T tokens in all.

    Returns:
        (1, T, hidden).
    """
    prompts, answers = LinearInputs.of(layer, hidden[0]).halves(layout.prompt_tokens)
    nothing = Memory(prompts.mixed.new_zeros(len(layout.prompt_lengths), _kept(layer), prompts.mixed.shape[-1]), None)
    out, memory = _run(layer, prompts, layout.prompts, nothing)
    if layout.answer_tokens:
        groups = [group for group, lengths in enumerate(layout.answer_lengths) for length in lengths if length]
        out = torch.cat((out, _run(layer, answers, layout.answers, memory.of(groups))[0]))
    gate = layer.in_proj_z(hidden).unflatten(-1, (-1, layer.head_v_dim))
    out = layer.norm(out.flatten(0, 1), gate.flatten(0, 2))
    return layer.out_proj(out.view(*hidden.shape[:2], -1))


def _kept(layer: Any) -> int:
    """Tokens that the convolution looks back."""
    return layer.conv_kernel_size - 1


def _run(layer: Any, inputs: LinearInputs, stretches: Segments, before: Memory) -> tuple[Tensor, Memory]:
    """Outputs (T, heads, value) of stretches that go on from their memories, and the memories after them."""
    padded = inputs.padded(stretches)
    mixed = torch.cat((before.conv, padded.mixed), dim=1)
    query, key, value = _convolved(layer, mixed)
    out, state = layer.chunk_gated_delta_rule(
        query,
        key,
        value,
        g=padded.log_decay,
        beta=padded.step,
        initial_state=before.state,
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )
    ends = zip(mixed, stretches.lengths, strict=True)
    conv = torch.stack([row[length : length + _kept(layer)] for row, length in ends])
    return out[stretches.padded[1]], Memory(conv, state)


def _convolved(layer: Any, mixed: Tensor) -> list[Tensor]:
    """Queries, keys and values (N, L, heads, width) from (N, kernel - 1 + L, channels)."""
    convolved = layer.conv1d(mixed.transpose(1, 2))[..., _kept(layer) : mixed.shape[1]].transpose(1, 2)
    parts = layer.act(convolved).split([layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    widths = (layer.head_k_dim, layer.head_k_dim, layer.head_v_dim)
    heads = [part.unflatten(-1, (-1, width)) for part, width in zip(parts, widths, strict=True)]
    return [head.repeat_interleave(layer.num_v_heads // head.shape[2], dim=2) for head in heads]
