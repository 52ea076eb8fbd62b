"""Multimodal rotary positions (M-RoPE) from token ids and grids.

Qwen2-VL (arXiv:2409.12191, section 2.1): a text token counts on in all three axes; a vision token has the position of
its frame, row and column, counted from the position after the preceding text; what follows a video starts after the
largest of the video's positions. That is how the model was trained and how vLLM's rollouts count. transformers 5 starts
the following text after the larger of height and width only, which differs for videos with more frame pairs than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VisionTokens:
    """Ids of the tokens that stand for vision, and how many patches share one.

    Attributes:
        image: id of `<|image_pad|>`.
        video: id of `<|video_pad|>`.
        merge: side of the square of patches behind one token.
    """

    image: int
    video: int
    merge: int


Grid = tuple[int, int, int]


def mrope_positions(
    input_ids: Tensor,
    tokens: VisionTokens,
    image_grid_thw: Tensor | None = None,
    video_grid_thw: Tensor | None = None,
) -> Tensor:
    """Position of each token in time, height and width.

    Args:
        input_ids: (B, S), padded on the right (the positions of padding mean nothing).
        tokens: ids of vision tokens.
        image_grid_thw: (images, 3), patches in time, height and width, in the order of the rows.
        video_grid_thw: (videos, 3), the same for videos.

    Returns:
        (3, B, S), int64, on the device of `input_ids`.

    Raises:
        ValueError: vision tokens and grids do not match.
    """
    grids = {tokens.image: _grids(image_grid_thw), tokens.video: _grids(video_grid_thw)}
    rows = [_row_positions(row, tokens, grids, number) for number, row in enumerate(input_ids.cpu())]
    for name, remaining in (("image", grids[tokens.image]), ("video", grids[tokens.video])):
        if count := len(list(remaining)):
            raise ValueError(f"{count} {name} grids have no tokens in this batch: ids and grids come from other rows")
    return torch.stack(rows, dim=1).to(input_ids.device)


def _grids(grid_thw: Tensor | None) -> Iterator[Grid]:
    return iter([] if grid_thw is None else [(t, h, w) for t, h, w in grid_thw.tolist()])


def _row_positions(ids: Tensor, tokens: VisionTokens, grids: dict[int, Iterator[Grid]], number: int) -> Tensor:
    """Positions of one row, (3, S)."""
    pieces: list[Tensor] = []
    cursor = start = 0
    for index in ((ids == tokens.image) | (ids == tokens.video)).nonzero().flatten().tolist():
        if index < cursor:
            continue
        pieces.append(_text(start, index - cursor))
        start += index - cursor
        vision = _vision(start, _next_grid(ids, index, tokens, grids, number), tokens.merge)
        pieces.append(vision)
        cursor, start = index + vision.shape[1], int(vision.max()) + 1
    return torch.cat([*pieces, _text(start, len(ids) - cursor)], dim=1)


def _next_grid(ids: Tensor, index: int, tokens: VisionTokens, grids: dict[int, Iterator[Grid]], number: int) -> Grid:
    """The grid of the run of vision tokens that begins at `index`, after a look at the run's length."""
    token = int(ids[index])
    name = "image" if token == tokens.image else "video"
    grid = next(grids[token], None)
    if grid is None:
        raise ValueError(
            f"row {number} has a {name} token (id {token}) at position {index} and no grid is left for it: "
            f"pass {name}_grid_thw of every {name} in the batch; in a response, the model itself has sampled the token"
        )
    expected = grid[0] * grid[1] * grid[2] // tokens.merge**2
    count = int((ids[index : index + expected] == token).sum())
    if count != expected:
        raise ValueError(
            f"row {number} has {count} {name} tokens from position {index}, and its grid {grid} stands for {expected}: "
            "the prompt was cut, or the frames were resized after the prompt was made"
        )
    return grid


def _text(start: int, length: int) -> Tensor:
    return torch.arange(start, start + length).expand(3, -1)


def _vision(start: int, grid: Grid, merge: int) -> Tensor:
    """Time, row and column of each token of a video, (3, tokens)."""
    time, height, width = grid
    axes = torch.arange(time), torch.arange(height // merge), torch.arange(width // merge)
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1) + start
