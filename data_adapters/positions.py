"""Multimodal rotary positions (M-RoPE) of each model family, as its weights were trained with and as vLLM counts.

Everything that gives a model positions takes them from here: rollouts' training rows, SFT, DPO and Megatron. A text
token counts on in all three axes. A vision token has the time, row and column of its patch, counted from the position
after the preceding text; text after it resumes after the largest of its positions. Families differ in time only:

- Qwen2-VL (arXiv:2409.12191, section 2.1): a pair of frames is one step.
- Qwen2.5-VL (arXiv:2502.13923, section 2.1.3): time is absolute, `tokens_per_second` steps a second, rounded down.
- Qwen3-VL (arXiv:2511.21631) and Qwen3.5: a pair of frames is an image of its own, and text before it tells its time.

transformers 5.10 resumes text after a video of Qwen2-VL and Qwen2.5-VL at the larger of height and width only, which
differs as soon as a video has more steps in time than that; and it cuts Qwen2.5-VL's seconds to whole ones. Its
version 4, with which the weights were published, and vLLM count as here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Time = Literal["pairs", "seconds", "images"]
"""What moves a video on in time: each pair of frames, seconds, or nothing, where a pair is an image of its own."""

FAMILIES: Mapping[str, Time] = {
    "qwen2_vl": "pairs",
    "qwen2_5_vl": "seconds",
    "qwen3_vl": "images",
    "qwen3_vl_moe": "images",
    "qwen3_5": "images",
    "qwen3_5_moe": "images",
}
"""`model_type` of a checkpoint's config -> how it counts time."""

Ids = NDArray[np.int64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class PositionRule:
    """How a checkpoint counts.

    Attributes:
        image: id of `<|image_pad|>`.
        video: id of `<|video_pad|>`.
        merge: side of the square of patches behind one token.
        time: what moves a video on in time.
        steps_a_second: positions a second where time is absolute.
    """

    image: int
    video: int
    merge: int
    time: Time = "pairs"
    steps_a_second: float = 1.0

    @classmethod
    def of(cls, config: Any, model_type: str = "") -> PositionRule | None:
        """The rule of a checkpoint; None where its family is not known here.

        Args:
            config: of transformers, of the whole model; or Megatron-Bridge's, which has no `model_type`.
            model_type: the family, where `config` does not say it.
        """
        time = FAMILIES.get(getattr(config, "model_type", model_type))
        if time is None:
            return None
        vision = config.vision_config
        return cls(
            image=config.image_token_id,
            video=config.video_token_id,
            merge=vision.spatial_merge_size,
            time=time,
            steps_a_second=getattr(vision, "tokens_per_second", 1.0) if time == "seconds" else 1.0,
        )


def mrope_positions(
    input_ids: Tensor, rule: PositionRule, vision: Mapping[str, Any], attention_mask: Tensor | None = None
) -> Tensor:
    """Position of each token in time, height and width.

    Args:
        input_ids: (B, S), padded on either side.
        rule: of the model.
        vision: what its processor gave for all rows, in their order: `image_grid_thw` (images, 3), `video_grid_thw`
            (videos, 3), and `second_per_grid_ts` (videos,) where time is absolute. Other keys are not looked at.
        attention_mask: (B, S), false where a token is padding, which is given 0; no token is by default.

    Returns:
        (3, B, S), int64, on the device of `input_ids`.

    Raises:
        ValueError: vision tokens and grids do not match, or the seconds between a video's frame pairs are missing.
    """
    import torch

    ids = input_ids.cpu().numpy()
    mask = np.ones(ids.shape, bool) if attention_mask is None else attention_mask.bool().cpu().numpy()
    patches = {rule.image: _images(vision), rule.video: _videos(vision, rule)}
    positions = np.zeros((3, *ids.shape), np.int64)
    for number, (row, kept) in enumerate(zip(ids, mask, strict=True)):
        positions[:, number, kept] = _row_positions(row[kept], rule, patches, number)
    for name, remaining in (("image", patches[rule.image]), ("video", patches[rule.video])):
        if count := len(list(remaining)):
            raise ValueError(f"{count} {name} grids have no tokens in this batch: ids and grids come from other rows")
    return torch.from_numpy(positions).to(input_ids.device)


def with_text_positions(positions: Tensor) -> Tensor:
    """(4, L): verl's plain count of a row without padding over its (3, L) positions."""
    import torch

    return torch.cat((torch.arange(positions.shape[1], device=positions.device)[None], positions))


@dataclass(frozen=True)
class _Patches:
    """One run of vision tokens: when its frame pairs are, and its rows and columns of patches."""

    times: NDArray[np.int64]
    height: int
    width: int

    def positions(self, merge: int) -> Positions:
        """(3, tokens), counted from 0."""
        grid = np.indices((len(self.times), self.height // merge, self.width // merge)).reshape(3, -1)
        grid[0] = self.times[grid[0]]
        return grid


_AT_ONCE = np.zeros(1, np.int64)


def _images(vision: Mapping[str, Any]) -> Iterator[_Patches]:
    for _, height, width in _grids(vision.get("image_grid_thw")):
        yield _Patches(_AT_ONCE, height, width)


def _videos(vision: Mapping[str, Any], rule: PositionRule) -> Iterator[_Patches]:
    grids = _grids(vision.get("video_grid_thw"))
    for (pairs, height, width), step in zip(grids, _steps(vision, rule, len(grids)), strict=False):
        if rule.time == "images":
            yield from repeat(_Patches(_AT_ONCE, height, width), pairs)
        else:
            yield _Patches((np.arange(pairs) * step).astype(np.int64), height, width)


def _steps(vision: Mapping[str, Any], rule: PositionRule, videos: int) -> list[float]:
    """Positions from one frame pair of a video to the next."""
    if rule.time != "seconds" or not videos:
        return [1.0] * videos
    seconds = vision.get("second_per_grid_ts")
    if seconds is None or len(seconds) != videos:
        raise ValueError(
            f"this model's positions tell time in seconds, and second_per_grid_ts is {seconds} for {videos} videos: "
            "the processor must be given each video's metadata (fps, frames_indices, total_num_frames)"
        )
    return [float(np.float32(value)) * rule.steps_a_second for value in seconds]  # float32, as processors hand it on


def _grids(grid_thw: Any) -> list[tuple[int, int, int]]:
    return [] if grid_thw is None else [(int(t), int(h), int(w)) for t, h, w in grid_thw]


def _row_positions(ids: Ids, rule: PositionRule, patches: dict[int, Iterator[_Patches]], number: int) -> Positions:
    """Positions of one row, (3, L)."""
    pieces: list[Positions] = []
    cursor = start = 0
    for index in ((ids == rule.image) | (ids == rule.video)).nonzero()[0].tolist():
        if index < cursor:
            continue
        pieces.append(_text(start, index - cursor))
        start += index - cursor
        run = _next_patches(ids, index, rule, patches, number).positions(rule.merge) + start
        pieces.append(run)
        cursor, start = index + run.shape[1], int(run.max()) + 1
    return np.concatenate([*pieces, _text(start, len(ids) - cursor)], axis=1)


def _next_patches(
    ids: Ids, index: int, rule: PositionRule, patches: dict[int, Iterator[_Patches]], number: int
) -> _Patches:
    """What the run of vision tokens that begins at `index` stands for, after a look at the run's length."""
    token = int(ids[index])
    name = "image" if token == rule.image else "video"
    run = next(patches[token], None)
    if run is None:
        raise ValueError(
            f"row {number} has a {name} token (id {token}) at position {index} and no grid is left for it: "
            f"pass {name}_grid_thw of every {name} in the batch; in a response, the model itself has sampled the token"
        )
    expected = len(run.times) * run.height * run.width // rule.merge**2
    count = int((ids[index : index + expected] == token).sum())
    if count != expected:
        grid = (len(run.times), run.height, run.width)
        raise ValueError(
            f"row {number} has {count} {name} tokens from position {index}, and its grid {grid} stands for {expected}: "
            "the prompt was cut, or the frames were resized after the prompt was made"
        )
    return run


def _text(start: int, length: int) -> Positions:
    return np.broadcast_to(np.arange(start, start + length), (3, length))
