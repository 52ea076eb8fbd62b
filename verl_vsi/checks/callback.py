"""The Hydra callback of every recipe: it sees the composed config before Ray starts, and can stop the run."""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class StartupChecks(Callback):
    """Set by ``recipe/_vsi.yaml`` as ``hydra.callbacks.vsi``."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Nothing yet."""
