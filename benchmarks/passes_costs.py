"""What a training pass costs at least: tokens, and floating-point operations by a model's sizes, for `passes.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

KINDS = ("stock", "shared", "frozen")
"""verl's own engine; ours; ours with the vision tower frozen."""
GRID = (8, 16, 32)
"""Patches of the video: 8 times 2 frames of 224x448 pixels."""
PATCHES, VIDEO_TOKENS = math.prod(GRID), math.prod(GRID) // 4
TEXT = 200
"""Tokens of the question."""


@dataclass(frozen=True)
class Tower:
    """What a vision tower has of its own."""

    patch: int = 14
    """Pixels of a patch's side."""
    window: int | None = None
    """Patches that a patch sees in all layers but every eighth; None where it sees its frame in all."""
    deepstack: int = 0
    """Layers of the language model that get features of their own."""


TOWERS = {
    "qwen2_vl": Tower(),
    "qwen2_5_vl": Tower(window=64),
    "qwen3_vl": Tower(patch=16, deepstack=3),
}
"""By model, as `model_type` names it."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    tower: Tower = Tower()
    tied: bool = False
    """Whether the embedding serves as output layer."""

    @property
    def head(self) -> int:
        """Numbers in a head."""
        return self.hidden // self.heads

    @property
    def text_weights(self) -> int:
        """Weights that a token of text meets, without embedding and output."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.key_heads * self.head
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def vision_weights(self) -> int:
        """Weights that a patch meets (its share of the mergers included)."""
        width = self.vision_width
        mergers = 1 + min(self.tower.deepstack, self.layers, self.vision_layers)
        merger = (4 * width) * (4 * width + self.hidden) // 4
        return self.vision_layers * 12 * width * width + 3 * 2 * self.tower.patch**2 * width + mergers * merger

    @property
    def seen_patches(self) -> int:
        """Patches that a patch attends to, itself among them, over all layers of the tower."""
        frame = GRID[1] * GRID[2]
        if self.tower.window is None:
            return self.vision_layers * frame
        whole = max(self.vision_layers // 8, 1)
        return whole * frame + (self.vision_layers - whole) * self.tower.window


SHAPES = {
    "qwen2_vl": {
        "tiny": Shape(64, 96, 1, 2, 1, 128, 32, 1, 2),
        # Qwen2-VL-2B's proportions: vision 58 % of stock's work, output layer 6 %.
        "small": Shape(256, 1496, 2, 4, 2, 1856, 192, 3, 3),
        # as published (arXiv:2409.12191, table 1, and config.json)
        "2b": Shape(1536, 8960, 28, 12, 2, 151936, 1280, 32, 16, tied=True),
        "7b": Shape(3584, 18944, 28, 28, 4, 152064, 1280, 32, 16),
    },
    "qwen2_5_vl": {
        "tiny": Shape(64, 96, 1, 2, 1, 128, 32, 1, 2, TOWERS["qwen2_5_vl"]),
        # Qwen2.5-VL-3B's proportions: a patch meets .23 times the weights of a token, the output layer .11 times.
        "small": Shape(256, 1496, 2, 4, 2, 1178, 128, 3, 2, TOWERS["qwen2_5_vl"]),
        "3b": Shape(2048, 11008, 36, 16, 2, 151936, 1280, 32, 16, TOWERS["qwen2_5_vl"], tied=True),
    },
    "qwen3_vl": {
        "tiny": Shape(64, 96, 1, 2, 1, 128, 32, 1, 2, TOWERS["qwen3_vl"]),
        # Qwen3-VL-2B's proportions: a patch meets .21 times the weights of a token, the output layer .22 times.
        "small": Shape(384, 1152, 2, 6, 3, 2028, 144, 3, 3, TOWERS["qwen3_vl"]),
        "2b": Shape(2048, 6144, 28, 16, 8, 151936, 1024, 24, 16, TOWERS["qwen3_vl"], tied=True),
    },
}
"""By model and name."""


def tokens(kind: str, prompt: int, n: int, length: int) -> int:
    """Tokens that the language model computes.

    Args:
        kind: one of `KINDS`.
        prompt: tokens of the question and its video.
        n: rollouts of the question.
        length: tokens of an answer.
    """
    return n * (prompt + length) if kind == "stock" else prompt + n * (length - 1)


def floor(shape: Shape, kind: str, name: str, prompt: int, n: int, length: int, patches: int = PATCHES) -> float:
    """Floating-point operations that a pass cannot do without; a backward pass costs two forward ones.

    Args:
        shape: of the model.
        kind: one of `KINDS`.
        name: of the pass, ``forward`` or ``update``.
        prompt: tokens of the question and its video.
        n: rollouts of the question.
        length: tokens of an answer.
        patches: of the video.
    """
    passes, all_tokens = 1 if name == "forward" else 3, tokens(kind, prompt, n, length)
    if kind == "stock":
        one = all_tokens // n
        return n * flops(shape, patches=patches, tokens=one, answers=one) * passes
    return flops(shape, patches=0 if kind == "frozen" else patches, tokens=all_tokens, answers=n * length) * passes


def flops(shape: Shape, *, patches: int, tokens: int, answers: int) -> float:
    """Floating-point operations of one forward pass: matrices, attention (causal, and within a frame), output layer.

    Args:
        shape: of the model.
        patches: that the vision tower computes.
        tokens: that the language model computes.
        answers: tokens whose logits are computed.
    """
    output = shape.hidden * shape.vocabulary * answers
    matrices = 2.0 * (shape.text_weights * tokens + shape.vision_weights * patches + output)
    causal = 2.0 * shape.layers * shape.hidden * tokens**2
    within_frames = 4.0 * shape.vision_width * patches * shape.seen_patches
    return matrices + causal + within_frames
