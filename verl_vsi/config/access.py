"""What a composed config says, read in one way by all who ask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

PIXELS_A_TOKEN = 28 * 28
"""Qwen2-VL: patches of 14x14, merged 2x2."""
FRAMES_A_TOKEN = 2
"""Qwen2-VL: a patch spans two frames."""

ENGINE_GROUPS = ("model_engine", "engine", "optim")
"""verl's groups that decide which keys there are."""


def row_files(config: DictConfig, key: str) -> list[str]:
    """`data.train_files` or `data.val_files` as a list.

    Args:
        config: verl's.
        key: train_files or val_files.
    """
    files = OmegaConf.select(config, f"data.{key}")
    if files is None:
        return []
    return [str(f) for f in files] if isinstance(files, ListConfig) else [str(files)]


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value.

    Args:
        node: mappings within mappings.
        prefix: of every key, with its dot.
    """
    flat: dict[str, Any] = {}
    for name, value in node.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def engine_choices(choices: Mapping[str, Any]) -> list[str]:
    """Hydra overrides that give verl's bare config the recipe's engine.

    Args:
        choices: ``hydra.runtime.choices`` of the composed recipe.
    """
    return [f"{group}={choices[group]}" for group in ENGINE_GROUPS if choices.get(group)]


def video_tokens(config: DictConfig) -> int | None:
    """Tokens of the largest video that the frame settings allow; None where frames go by seconds."""
    frames = config.vsi.frames
    if not frames.nframes:
        return None
    return math.ceil(frames.nframes / FRAMES_A_TOKEN) * (frames.max_pixels // PIXELS_A_TOKEN)
