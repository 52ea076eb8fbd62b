"""Prefix packing: many short texts behind one video prefix, so that pretraining reads each video once a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES
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

TokenPair = tuple[list[int], list[int]]
"""Token ids of a text, and of the answer that is learned to follow it."""


@dataclass(frozen=True, eq=False)
class TinyVLM:
    """The miniature's model and tokenizer, called the way pretraining calls them."""

    model: Any  # Qwen2VLForConditionalGeneration and PreTrainedTokenizerFast; transformers' own annotations
    tokenizer: Any  # do not cover what they do

    @cached_property
    def prefix(self) -> list[int]:
        """Token ids from the start of a prompt to the video's end."""
        return self.tokenizer(f"{OPENING}{VIDEO * VIDEO_TOKENS}{VISION_END}")["input_ids"]

    @cached_property
    def category_ids(self) -> list[int]:
        """The one token of each category's word, in the renderer's order."""
        return [self.tokenizer.convert_tokens_to_ids(name) for name in CATEGORIES]

    def token_pair(self, text: str, answer: str) -> TokenPair:
        """Encode one exchange.

        Args:
            text: what the user says behind the video.
            answer: what the assistant says; the end token is added.
        """
        ids = self.tokenizer(f"{text}{CLOSING}")["input_ids"]
        return ids, self.tokenizer(f"{answer}{END}")["input_ids"]

    def video_tokens(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(B, 32, width) video tokens of (B, 4, 112, 112, 3) frames."""
        import torch

        grid = torch.tensor([GRID] * len(frames))
        tokens = self.model.model.visual(patches(frames), grid_thw=grid)
        return tokens.pooler_output.view(len(frames), VIDEO_TOKENS, -1)

    def embed(self, ids: torch.Tensor, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(B, L, width) embeddings of ids that begin with `prefix`, the videos in place.

        Args:
            ids: (B, L).
            frames: (B, 4, 112, 112, 3) uint8.
        """
        import torch

        words = self.model.model.language_model.embed_tokens(ids)
        first = len(self.prefix) - 1 - VIDEO_TOKENS
        return torch.cat([words[:, :first], self.video_tokens(frames), words[:, first + VIDEO_TOKENS :]], dim=1)


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
        rows, columns: (M,) each, where the answers' tokens stand.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor


def pack(prefix: list[int], rows: Sequence[Sequence[TokenPair]], pad: int) -> Pack:
    """Put the texts of every row behind its video: the loss of each is what it would be alone.

    Args:
        prefix: token ids to the video's end, the same for all.
        rows: texts and answers, B lists.
        pad: token id behind the last text of a shorter row.
    """
    import torch

    start = len(prefix)
    size = start + max(sum(len(text) + len(answer) for text, answer in row) for row in rows)
    ids = np.full((len(rows), size), pad)
    owner = np.full((len(rows), size), -1)
    before = prefix_positions(start)
    positions = np.zeros((3, len(rows), size), dtype=np.int64)
    ids[:, :start], owner[:, :start], positions[:, :, :start] = prefix, 0, before[:, None]
    answer_tokens: list[tuple[int, int]] = []
    for b, row in enumerate(rows):
        at = start
        for k, (text, answer) in enumerate(row, 1):
            end = at + len(text) + len(answer)
            ids[b, at:end], owner[b, at:end] = text + answer, k
            positions[:, b, at:end] = before[0, -1] + 1 + np.arange(end - at)
            answer_tokens += [(b, c) for c in range(at + len(text), end)]
            at = end
    at_rows, at_columns = torch.tensor(answer_tokens).reshape(-1, 2).unbind(1)
    mask = _visible(torch.from_numpy(owner))
    return Pack(torch.from_numpy(ids), torch.from_numpy(positions), mask, at_rows, at_columns)


def _visible(owner: torch.Tensor) -> torch.Tensor:
    """(B, 1, L, L) from (B, L): earlier tokens of one's own text or of the prefix (owner 0), and oneself."""
    import torch

    size = owner.shape[1]
    related = (owner[:, :, None] == owner[:, None, :]) | (owner == 0)[:, None, :]
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    return ((related & causal) | torch.eye(size, dtype=torch.bool))[:, None]


@dataclass(frozen=True, eq=False)
class PackOutput:
    """What the model makes of a pack.

    Args:
        pack: what it read.
        loss: mean cross-entropy of all answers' tokens, a scalar.
        hidden_states: (B, L, width) of the embeddings and of every layer.
    """

    pack: Pack
    loss: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...]


def run_packed(vlm: TinyVLM, frames: NDArray[np.uint8], rows: Sequence[Sequence[TokenPair]]) -> PackOutput:
    """Read texts behind their videos.

    Args:
        vlm: the model.
        frames: (B, 4, 112, 112, 3) uint8.
        rows: texts and answers, B lists.
    """
    import torch

    texts = pack(vlm.prefix, rows, vlm.tokenizer.pad_token_id)
    out = vlm.model.model.language_model(
        inputs_embeds=vlm.embed(texts.ids, frames),
        position_ids=texts.positions,
        attention_mask=texts.mask,
        use_cache=False,
        output_hidden_states=True,
    )
    logits = vlm.model.lm_head(out.last_hidden_state[texts.rows, texts.columns - 1])
    loss = torch.nn.functional.cross_entropy(logits, texts.ids[texts.rows, texts.columns])
    return PackOutput(texts, loss, out.hidden_states)
