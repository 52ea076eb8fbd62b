"""From a batch of rows (prompt and one answer each) to one packed sequence that holds each prompt once.

Positions are taken from the batch: an answer's rotary positions go on where its prompt's stop, for every answer alike.
The last token of an answer is left out: nothing reads what the model computes from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from verl_vsi.sharing.layout import Layout

if TYPE_CHECKING:
    from tensordict import TensorDict

_ROTARY = 3  # rotary channels: time, height, width


@dataclass(frozen=True)
class Rollout:
    """One rollout: ids (L,), rotary positions (3, L), how many of its L tokens are the prompt, and its group's id."""

    ids: Tensor
    positions: Tensor
    prompt_length: int
    uid: Hashable

    @property
    def prompt(self) -> tuple[int, ...]:
        """The prompt's tokens."""
        return tuple(self.ids[: self.prompt_length].tolist())


@dataclass(frozen=True)
class PackedBatch:
    """A packed batch of T tokens, of which N are read.

    Attributes:
        groups: row numbers of each group.
        layout: lengths.
        ids: token ids (1, T).
        positions: rotary positions (3, 1, T).
        read: where the model's output is read (N,), a number in the packed sequence.
        labels: the token that each of them predicts (N,).
        write: where its log-probability goes (N,), a number in the batch's rows laid end to end.
    """

    groups: tuple[tuple[int, ...], ...]
    layout: Layout
    ids: Tensor
    positions: Tensor
    read: Tensor
    labels: Tensor
    write: Tensor


def rollouts_of(batch: TensorDict) -> list[Rollout]:
    """The rows of verl's micro-batch (`input_ids`, `prompts`, `position_ids` jagged, `uid`)."""
    ids = batch["input_ids"].unbind(0)
    prompts: list[int] = batch["prompts"].offsets().diff().tolist()  # pyright: ignore[reportAttributeAccessIssue]
    positions = _positions(batch["position_ids"], [row.numel() for row in ids])
    uids = [getattr(uid, "data", uid) for uid in batch["uid"]]
    return [Rollout(*row) for row in zip(ids, positions, prompts, uids, strict=True)]


def _positions(nested: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Rotary positions (3, L) a row, out of (4, L) with the text's first, (3, L), or (L,) for text models."""
    values = nested.values()
    rows = values.split(list(lengths), dim=-1)
    if values.dim() == 1:
        return [row.expand(_ROTARY, -1) for row in rows]
    return [row[-_ROTARY:] for row in rows]


def group_rollouts(rows: Sequence[Rollout]) -> list[list[int]]:
    """Row numbers of each group, in order of first appearance.

    Rows are a group when they carry one uid and one prompt. The uid is needed: a template question on two videos has
    the same tokens twice. The prompt is needed: an agent with several turns has several prompts under one uid.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault((row.uid, row.prompt), []).append(number)
    return list(groups.values())


def pack(rows: Sequence[Rollout], groups: Sequence[Sequence[int]] | None = None) -> PackedBatch:
    """Pack the rows, each group's prompt once."""
    groups = group_rollouts(rows) if groups is None else groups
    firsts = [rows[group[0]] for group in groups]
    answered = [rows[number] for group in groups for number in group]
    layout = Layout(
        tuple(first.prompt_length for first in firsts),
        tuple(tuple(_kept(rows[number]) for number in group) for group in groups),
        rows[0].ids.device,
    )
    read, labels, write = _reads(rows, groups, layout)
    return PackedBatch(
        groups=tuple(map(tuple, groups)),
        layout=layout,
        ids=torch.cat([*(r.ids[: r.prompt_length] for r in firsts), *(_answer(r.ids, r) for r in answered)])[None],
        positions=torch.cat(
            [*(r.positions[:, : r.prompt_length] for r in firsts), *(_answer(r.positions, r) for r in answered)], dim=1
        )[:, None],
        read=read,
        labels=labels,
        write=write,
    )


def packed_tokens(rows: Sequence[Rollout], groups: Iterable[Sequence[int]]) -> int:
    """Tokens that a pass over these groups computes: each prompt once, each answer without its last token."""
    return sum(rows[group[0]].prompt_length + sum(_kept(rows[number]) for number in group) for group in groups)


def _kept(row: Rollout) -> int:
    return max(row.ids.numel() - row.prompt_length - 1, 0)


def _answer(tokens: Tensor, row: Rollout) -> Tensor:
    return tokens[..., row.prompt_length : row.prompt_length + _kept(row)]


def _reads(rows: Sequence[Rollout], groups: Sequence[Sequence[int]], layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """An answer's first token is predicted by the prompt's last, the others by the answer itself."""
    device = layout.device
    starts = torch.tensor([0, *(row.ids.numel() for row in rows)]).cumsum(0).tolist()
    read, labels, write = [], [], []
    answer = layout.prompt_tokens
    for group, prompt_end in zip(groups, layout.prompts.bounds[1:], strict=True):
        for number in group:
            row = rows[number]
            if row.ids.numel() == row.prompt_length:
                continue
            read += [torch.tensor([prompt_end - 1]), torch.arange(answer, answer + _kept(row))]
            labels.append(row.ids[row.prompt_length :])
            write.append(torch.arange(starts[number] + row.prompt_length - 1, starts[number + 1] - 1))
            answer += _kept(row)
    return torch.cat(read).to(device), torch.cat(labels), torch.cat(write).to(device)
