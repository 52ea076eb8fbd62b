"""From rollouts (a prompt and one answer each) to one packed sequence that holds each prompt once.

Positions are taken from the rollouts: an answer's rotary positions go on where its prompt's stop, for every answer
alike. The last token of an answer is left out: nothing reads what the model computes from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_vsi.sharing.packed_layout import PackedLayout


@dataclass(frozen=True)
class Rollout:
    """One rollout: a row of L tokens.

    Attributes:
        ids: token ids (L,).
        positions: rotary positions (3, L).
        prompt_length: how many of the tokens are the prompt.
        uid: its question.
    """

    ids: Tensor
    positions: Tensor
    prompt_length: int
    uid: Hashable

    @property
    def prompt(self) -> tuple[int, ...]:
        """The prompt's tokens."""
        return tuple(self.ids[: self.prompt_length].tolist())

    @property
    def computed_length(self) -> int:
        """Tokens of the answer that a pass computes: all but the last."""
        return max(self.ids.numel() - self.prompt_length - 1, 0)

    def prompt_part(self, tokens: Tensor) -> Tensor:
        """Of something by token (..., L), the prompt's."""
        return tokens[..., : self.prompt_length]

    def answer_part(self, tokens: Tensor) -> Tensor:
        """Of something by token (..., L), the answer's that is computed."""
        return tokens[..., self.prompt_length : self.prompt_length + self.computed_length]


def group_rollouts(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """Row numbers of each group, in order of first appearance.

    Rollouts are a group when they carry one uid and one prompt. The uid is needed: a template question on two videos
    has the same tokens twice. The prompt is needed: an agent with several turns has several prompts under one uid.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, rollout in enumerate(rollouts):
        groups.setdefault((rollout.uid, rollout.prompt), []).append(row)
    return list(groups.values())


def packed_tokens(rollouts: Sequence[Rollout], groups: Iterable[Sequence[int]]) -> int:
    """Tokens that a pass computes: each prompt once, each answer without its last token.

    Args:
        rollouts: the batch.
        groups: row numbers of each group.
    """
    return sum(
        rollouts[group[0]].prompt_length + sum(rollouts[row].computed_length for row in group) for group in groups
    )


@dataclass(frozen=True)
class PackedBatch:
    """A packed batch of T tokens, of whose outputs N are read.

    Attributes:
        groups: row numbers of each group.
        layout: lengths of prompts and answers.
        ids: token ids (1, T).
        positions: rotary positions (3, 1, T).
        read_index: where the model's output is read (N,), counted in the packed sequence.
        labels: the token that each of them predicts (N,).
        write_index: where its log-probability goes (N,), counted in the batch's rows laid end to end.
    """

    groups: tuple[tuple[int, ...], ...]
    layout: PackedLayout
    ids: Tensor
    positions: Tensor
    read_index: Tensor
    labels: Tensor
    write_index: Tensor

    def unpack(self, values: Tensor, ids: Tensor) -> Tensor:
        """Put what was read into the batch's rows, at the token before the one that it predicts; zeros elsewhere.

        Args:
            values: (N,).
            ids: the batch's, nested (B, j).

        Returns:
            Nested (B, j), like the ids.
        """
        rows = torch.zeros(ids.values().numel(), dtype=values.dtype, device=values.device)
        offsets = ids.offsets()  # pyright: ignore[reportAttributeAccessIssue]
        return torch.nested.nested_tensor_from_jagged(rows.index_put((self.write_index,), values), offsets)


def pack(rollouts: Sequence[Rollout]) -> PackedBatch:
    """Pack rollouts, each group's prompt once."""
    groups = group_rollouts(rollouts)
    firsts = [rollouts[group[0]] for group in groups]
    members = [rollouts[row] for group in groups for row in group]
    layout = PackedLayout(
        tuple(first.prompt_length for first in firsts),
        tuple(tuple(rollouts[row].computed_length for row in group) for group in groups),
        rollouts[0].ids.device,
    )
    ids = [*(r.prompt_part(r.ids) for r in firsts), *(r.answer_part(r.ids) for r in members)]
    positions = [*(r.prompt_part(r.positions) for r in firsts), *(r.answer_part(r.positions) for r in members)]
    read_index, labels, write_index = _indices(rollouts, groups, layout)
    return PackedBatch(
        groups=tuple(map(tuple, groups)),
        layout=layout,
        ids=torch.cat(ids)[None],
        positions=torch.cat(positions, dim=1)[:, None],
        read_index=read_index,
        labels=labels,
        write_index=write_index,
    )


def _indices(
    rollouts: Sequence[Rollout], groups: Sequence[Sequence[int]], layout: PackedLayout
) -> tuple[Tensor, Tensor, Tensor]:
    """An answer's first token is predicted by the prompt's last, the others by the answer itself."""
    row_starts = torch.tensor([0, *(rollout.ids.numel() for rollout in rollouts)]).cumsum(0).tolist()
    read_index, labels, write_index = [], [], []
    start = layout.prompt_tokens
    for group, prompt_end in zip(groups, layout.prompts.bounds[1:], strict=True):
        for row in group:
            rollout = rollouts[row]
            if rollout.ids.numel() == rollout.prompt_length:
                continue
            end = start + rollout.computed_length
            read_index += [torch.tensor([prompt_end - 1]), torch.arange(start, end)]
            labels.append(rollout.ids[rollout.prompt_length :])
            write_index.append(torch.arange(row_starts[row] + rollout.prompt_length - 1, row_starts[row + 1] - 1))
            start = end
    return torch.cat(read_index).to(layout.device), torch.cat(labels), torch.cat(write_index).to(layout.device)
