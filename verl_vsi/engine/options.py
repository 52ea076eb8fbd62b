"""What a user may choose about the shared passes.

A worker is handed its part of the configuration only, so these travel in `actor_rollout_ref.model.override_config`,
whose keys verl writes into the model's Hugging Face configuration; from there they are taken out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PREFIX = "vsi_"
_GIB = 2**30


@dataclass(frozen=True)
class Options:
    """Options of the shared passes; the defaults where the configuration says nothing."""

    freeze_tower: bool = False
    """Do not train the vision tower; its features are then computed once a video. (verl's switch does nothing.)"""

    feature_cache_gib: float = 2.0
    """Host memory that remembered features may take, in GiB, for each engine."""

    shadow: bool = False
    """Run verl's own passes too, and report the differences as metrics."""

    @property
    def feature_cache_bytes(self) -> int:
        """The limit in bytes."""
        return int(self.feature_cache_gib * _GIB)


def take_options(model_config: Any) -> Options:
    """Read the options from verl's `HFModelConfig`, and leave no trace of them in the model's own configuration.

    Raises:
        TypeError: from the dataclass, where a key with the prefix is none of its fields.
    """
    given = {key: value for key, value in model_config.override_config.items() if str(key).startswith(PREFIX)}
    for key in given:
        if hasattr(model_config.hf_config, key):
            delattr(model_config.hf_config, key)
    return Options(**{key.removeprefix(PREFIX): value for key, value in given.items()})
