"""What a composed config says, read in one way by all who ask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from verl_vsi.config.model_shape import model_family
from verl_vsi.data_adapters.positions import FAMILIES

QWEN2_PATCH = 14
"""Side of a patch where a recipe says nothing, in pixels; a token stands for 2x2 patches."""
FRAMES_A_TOKEN = 2
"""A patch spans two frames."""
TIME_TOKENS = 10
"""What Qwen3-VL writes before each frame pair, such as `<12.3 seconds>` and two markers; seconds of two digits."""

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


def model_path(config: DictConfig) -> str:
    """The model that the trainer loads: `vsi.model`, unless verl's own key was set beside it."""
    keys = ("actor_rollout_ref.model.path", "model.path", "vsi.model")
    return str(next(path for key in keys if (path := OmegaConf.select(config, key))))


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
    a_pair = frames.max_pixels // (2 * frames.get("patch_size", QWEN2_PATCH)) ** 2
    timed = FAMILIES.get(model_family(model_path(config)) or "") == "images"
    return math.ceil(frames.nframes / FRAMES_A_TOKEN) * (a_pair + (TIME_TOKENS if timed else 0))
