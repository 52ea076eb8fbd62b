"""Where prompts and answers lie in a packed sequence, and which of them attend to which.

The packed sequence holds every group's prompt first, then every group's answers, group by group:

    [prompt 1 | prompt 2 | ... | answer 1.1 | answer 1.2 | ... | answer 2.1 | ...]

A token of a prompt sees its own prompt up to itself. A token of an answer sees its group's prompt and its own answer up
to itself, never another answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segments:
    """Consecutive stretches of tokens, as variable-length attention kernels want them."""

    lengths: tuple[int, ...]
    device: torch.device

    @cached_property
    def bounds(self) -> list[int]:
        """First token of each stretch, and the end: `len(lengths) + 1` numbers."""
        return [0, *accumulate(self.lengths)]

    @cached_property
    def cumulative(self) -> Tensor:
        """`bounds` as int32 on the device."""
        return torch.tensor(self.bounds, dtype=torch.int32, device=self.device)

    @property
    def longest(self) -> int:
        """Tokens of the longest stretch."""
        return max(self.lengths, default=0)

    @cached_property
    def padded(self) -> tuple[Tensor, Tensor]:
        """Token numbers (stretches, longest), padding pointing at token 0, and which of them are real (same shape)."""
        columns = torch.arange(self.longest, device=self.device)
        real = columns < torch.tensor(self.lengths, device=self.device)[:, None]
        starts = torch.tensor(self.bounds[:-1], device=self.device)[:, None]
        return torch.where(real, starts + columns, 0), real


class PackedLayout:
    """Lengths of a packed batch, in tokens.

    Not a dataclass: FSDP2 casts the inputs of each layer, and makes dataclasses among them anew, without what was
    computed on first use. On a GPU each `Segments.cumulative` is a copy that the host waits for.
    """

    def __init__(
        self,
        prompt_lengths: tuple[int, ...],
        answer_lengths: tuple[tuple[int, ...], ...],
        device: torch.device,
    ) -> None:
        """A packed batch.

        Args:
            prompt_lengths: of each group's prompt.
            answer_lengths: of each answer, by group.
            device: of the tensors that are made from them.
        """
        self.prompt_lengths = prompt_lengths
        self.answer_lengths = answer_lengths
        self.device = device

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts: answers start here."""
        return sum(self.prompt_lengths)

    @property
    def answer_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(map(sum, self.answer_lengths))

    @cached_property
    def prompts(self) -> Segments:
        """Each prompt."""
        return Segments(self.prompt_lengths, self.device)

    @cached_property
    def answers(self) -> Segments:
        """Each answer that has a token, counted from the first answer."""
        lengths = tuple(length for group in self.answer_lengths for length in group if length)
        return Segments(lengths, self.device)

    @cached_property
    def answers_by_group(self) -> Segments:
        """All answers of each group, counted from the first answer."""
        return Segments(tuple(map(sum, self.answer_lengths)), self.device)

    @cached_property
    def mask(self) -> Tensor:
        """What may see what, (tokens, tokens) bool: for devices that have no kernel of ours, and for tests."""
        owners = [(group, 0) for group, length in enumerate(self.prompt_lengths) for _ in range(length)]
        for group, lengths in enumerate(self.answer_lengths):
            owners += [(group, number) for number, length in enumerate(lengths, 1) for _ in range(length)]
        return _mask(owners, self.device)


def _mask(owners: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """From each token's group and answer (0: the prompt)."""
    group, answer = torch.tensor(owners, device=device).T
    token = torch.arange(len(owners), device=device)
    before = token[:, None] >= token[None, :]
    same_group = group[:, None] == group[None, :]
    visible = (answer[None, :] == 0) | (answer[:, None] == answer[None, :])
    return before & same_group & visible
