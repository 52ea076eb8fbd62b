"""Prompt lengths by arithmetic: text tokenised once, video tokens from the frame index, no pixel read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.frames import FrameInfo
from verl_vsi.data_adapters.positions import PositionRule

_BATCH = 1024
Ids = NDArray[np.int64]


class VideoTokens:
    """What stands for a video in a prompt: what the processor itself makes of the placeholder and its two markers.

    Most families put the video's tokens between the markers; Qwen3-VL writes each frame pair's time before it, and
    where the outer markers stay depends on the version of transformers. So the processor is asked, with tiny frames.
    """

    _PLACEHOLDER = "<|vision_start|><|video_pad|><|vision_end|>"
    _MARKED = 3

    def __init__(self, processor: Any) -> None:
        """Ask nothing yet.

        Args:
            processor: of a model, with verl's `config`; of a family that `data_adapters.positions` knows, or of
                another, whose videos are taken to be tokens alone.
        """
        self._processor = processor
        self._rule = PositionRule.of(getattr(processor, "config", None))
        self._layouts: dict[Any, Ids] = {}

    def added(self, info: FrameInfo) -> int:
        """By how many tokens a video makes its prompt longer than the text with its placeholder."""
        if self._rule is None:
            return info.tokens - 1
        layout = self._layout(info)
        return len(layout) - info.grid_thw[0] + info.tokens - self._MARKED

    def expand(self, ids: Ids, infos: Sequence[FrameInfo]) -> Ids:
        """A prompt's ids, each placeholder and its markers replaced by what stands for the video.

        Args:
            ids: (L,), one placeholder a video.
            infos: the index entries of its videos, in order.
        """
        video = self._processor.video_token_id
        places = (ids == video).nonzero()[0].tolist()
        pieces, cursor = [], 0
        for place, info in zip(places, infos, strict=True):
            layout = self._layout(info)
            repeats = np.where(layout == video, info.tokens // info.grid_thw[0], 1)
            pieces += [ids[cursor : place - 1], layout.repeat(repeats)]
            cursor = place + 2
        return np.concatenate([*pieces, ids[cursor:]])

    def _layout(self, info: FrameInfo) -> Ids:
        """With one video token a frame pair."""
        timed = self._rule is not None and self._rule.time == "images"
        key = (info.indices, info.fps, info.total) if timed else len(info.indices)
        if key not in self._layouts:
            self._layouts[key] = self._ask(info)
        return self._layouts[key]

    def _ask(self, info: FrameInfo) -> Ids:
        import torch

        side = self._processor.video_processor.patch_size * self._processor.video_processor.merge_size
        frames = torch.zeros((len(info.indices), 3, side, side), dtype=torch.uint8)
        out = self._processor(
            text=[self._PLACEHOLDER],
            videos=[frames],
            video_metadata=[info.metadata],
            do_sample_frames=False,
            do_resize=False,
        )
        return np.asarray(out["input_ids"][0], dtype=np.int64)


def tokenize(processor: Any, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    """(L,) token ids of each text, every video still one placeholder; equal texts are tokenised once.

    Args:
        processor: a Hugging Face processor.
        texts: rendered by the chat template.
    """
    distinct = list(dict.fromkeys(texts))
    ids: dict[str, NDArray[np.int32]] = {}
    for start in range(0, len(distinct), _BATCH):
        batch = distinct[start : start + _BATCH]
        encoded = processor.tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        ids.update(zip(batch, (np.asarray(e, dtype=np.int32) for e in encoded), strict=True))
    return [ids[text] for text in texts]


def check_sizes(processor: Any, infos: Iterable[FrameInfo], mm_kwargs: Mapping[str, Any]) -> None:
    """See that the processor takes the stored frames as they are: a resize of its own would change tokens and pixels.

    Asks the processor itself, with one black pair of frames a size; where its bounds are of a whole video, with as many
    as the video has.

    Args:
        processor: a Hugging Face processor.
        infos: index entries of the stored frames.
        mm_kwargs: what verl hands to the processor with every call.

    Raises:
        ValueError: it would resize them; says to what, and which settings disagree.
    """
    rule = PositionRule.of(getattr(processor, "config", None))
    whole = rule is not None and rule.time == "images"
    for count, height, width in sorted({(info.shape[0] if whole else 2, *info.shape[1:]) for info in infos}):
        grid = _grid(processor, (count, height, width), mm_kwargs)
        patch = processor.video_processor.patch_size
        if (grid[1] * patch, grid[2] * patch) != (height, width):
            bounds = processor.video_processor.size
            raise ValueError(
                f"stored frames are {height}x{width}, but the model's processor would resize them to "
                f"{grid[1] * patch}x{grid[2] * patch} (its pixel bounds: {bounds}, patch {patch}); set "
                "vsi.frames.min_pixels and max_pixels within these bounds, or +data.mm_processor_kwargs.do_resize=False"
            )


def _grid(processor: Any, shape: tuple[int, int, int], mm_kwargs: Mapping[str, Any]) -> tuple[int, int, int]:
    import torch

    count, height, width = shape
    black = torch.zeros((count, 3, height, width), dtype=torch.uint8)
    kwargs = {k: v for k, v in mm_kwargs.items() if k != "sampling_rate"}
    out = processor.video_processor(videos=[black], return_tensors="pt", do_sample_frames=False, **kwargs)
    t, h, w = out["video_grid_thw"][0].tolist()
    return t, h, w
