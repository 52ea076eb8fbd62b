"""The model with what pretraining needs to call it fast: a video prefix, and many short texts behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.miniature.pretraining.tiny_model import (
    END,
    GRID,
    MERGE,
    START,
    VIDEO,
    VIDEO_TOKENS,
    VISION_END,
    VISION_START,
    patches,
)

if TYPE_CHECKING:
    import torch

OPENING = f"{START}user\n{VISION_START}"
CLOSING = f"{END}\n{START}assistant\n"
"""What the chat template puts before the video and after the question."""

Pair = tuple[list[int], list[int]]
"""Token ids of a text, and of what is learned to follow it."""


@dataclass(frozen=True, eq=False)
class TinyVLM:
    """A model, its tokenizer and the ids of every prompt's beginning."""

    model: Any  # Qwen2VLForConditionalGeneration and PreTrainedTokenizerFast; transformers' own annotations
    tokenizer: Any  # do not cover what they do

    @cached_property
    def prefix(self) -> list[int]:
        """Token ids from the start of a prompt to the video's end."""
        return self.tokenizer(f"{OPENING}{VIDEO * VIDEO_TOKENS}{VISION_END}")["input_ids"]

    def pair(self, text: str, answer: str) -> Pair:
        """A user's text and the assistant's answer, end token included."""
        ids = self.tokenizer(f"{text}{CLOSING}")["input_ids"]
        return ids, self.tokenizer(f"{answer}{END}")["input_ids"]

    def see(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(B, 32, width) video tokens of (B, 4, 112, 112, 3) frames."""
        import torch

        grid = torch.tensor([GRID] * len(frames))
        seen = self.model.model.visual(patches(frames), grid_thw=grid)
        return seen.pooler_output.view(len(frames), VIDEO_TOKENS, -1)

    def embed(self, ids: torch.Tensor, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(B, L, width) embeddings of ids that begin with `prefix`, the videos in place."""
        import torch

        words = self.model.model.language_model.embed_tokens(ids)
        first = len(self.prefix) - 1 - VIDEO_TOKENS
        return torch.cat([words[:, :first], self.see(frames), words[:, first + VIDEO_TOKENS :]], dim=1)


def prefix_positions(length: int) -> NDArray[np.int64]:
    """(3, length) time, row and column positions of a prefix, as Qwen2-VL counts them.

    Text advances all three by one; after the video, counting goes on from the largest.
    """
    before = length - 1 - VIDEO_TOKENS
    t, h, w = GRID[0], GRID[1] // MERGE, GRID[2] // MERGE
    video = np.indices((t, h, w)).reshape(3, -1) + before
    text = np.tile(np.arange(before), (3, 1))
    return np.concatenate([text, video, np.full((3, 1), before + max(t, h, w))], axis=1)


@dataclass(frozen=True, eq=False)
class Pack:
    """Rows of several texts behind one video, each of which sees the video and itself only.

    Args:
        ids: (B, L) token ids.
        positions: (3, B, L).
        mask: (B, 1, L, L) bool, True where a token (row) may look (column).
        rows, columns: where the tokens to learn stand, (M,) each.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor


def pack(prefix: list[int], rows: Sequence[Sequence[Pair]], pad: int) -> Pack:
    """Put the texts of every row behind its video: the loss of each is what it would be alone."""
    import torch

    start = len(prefix)
    size = start + max(sum(len(q) + len(a) for q, a in row) for row in rows)
    ids = np.full((len(rows), size), pad)
    owner = np.full((len(rows), size), -1)
    before = prefix_positions(start)
    positions = np.zeros((3, len(rows), size), dtype=np.int64)
    ids[:, :start], owner[:, :start], positions[:, :, :start] = prefix, 0, before[:, None]
    learn: list[tuple[int, int]] = []
    for b, row in enumerate(rows):
        at = start
        for k, (question, answer) in enumerate(row, 1):
            end = at + len(question) + len(answer)
            ids[b, at:end], owner[b, at:end] = question + answer, k
            positions[:, b, at:end] = before[0, -1] + 1 + np.arange(end - at)
            learn += [(b, c) for c in range(at + len(question), end)]
            at = end
    places = torch.tensor(learn).reshape(-1, 2)
    mask = _visible(torch.from_numpy(owner))
    return Pack(torch.from_numpy(ids), torch.from_numpy(positions), mask, places[:, 0], places[:, 1])


def _visible(owner: torch.Tensor) -> torch.Tensor:
    """(B, 1, L, L): earlier tokens of one's own text or of the prefix (owner 0), and oneself."""
    import torch

    size = owner.shape[1]
    related = (owner[:, :, None] == owner[:, None, :]) | (owner == 0)[:, None, :]
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    return ((related & causal) | torch.eye(size, dtype=torch.bool))[:, None]


@dataclass(frozen=True, eq=False)
class Packed:
    """What the model makes of a pack.

    Args:
        batch: the pack.
        loss: mean cross-entropy of all answers' tokens, a scalar.
        hidden_states: (B, L, width) of the embeddings and of every layer.
    """

    batch: Pack
    loss: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...]


def run_packed(pupil: TinyVLM, frames: NDArray[np.uint8], rows: Sequence[Sequence[Pair]]) -> Packed:
    """Read texts behind their videos.

    Args:
        pupil: the model.
        frames: (B, 4, 112, 112, 3) uint8.
        rows: texts and answers, B lists.
    """
    import torch

    batch = pack(pupil.prefix, rows, pupil.tokenizer.pad_token_id)
    out = pupil.model.model.language_model(
        inputs_embeds=pupil.embed(batch.ids, frames),
        position_ids=batch.positions,
        attention_mask=batch.mask,
        use_cache=False,
        output_hidden_states=True,
    )
    logits = pupil.model.lm_head(out.last_hidden_state[batch.rows, batch.columns - 1])
    loss = torch.nn.functional.cross_entropy(logits, batch.ids[batch.rows, batch.columns])
    return Packed(batch, loss, out.hidden_states)
