"""What differs between two composed configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_vsi.checks.resume import flatten

ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """One key and its two values."""

    key: str
    first: Any
    second: Any


def settings(config: DictConfig) -> dict[str, Any]:
    """Dotted key -> value, resolved, without Hydra's node and without `data.vsi`, which repeats `vsi`."""
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    container: Mapping[str, Any] = OmegaConf.to_container(plain, resolve=True)  # pyright: ignore[reportAssignmentType]
    return {key: value for key, value in flatten(container).items() if not key.startswith("data.vsi.")}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Keys whose values differ, in order of name."""
    return [
        Difference(key, first.get(key, ABSENT), second.get(key, ABSENT))
        for key in sorted(first.keys() | second.keys())
        if first.get(key, ABSENT) != second.get(key, ABSENT)
    ]
