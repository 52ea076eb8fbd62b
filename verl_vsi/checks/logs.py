"""Where a run's curves go: a jsonl file for each start, and tensorboard, both in the run's folder.

verl's file logger opens one file anew at every start, so a resumed run would erase its curve; and the processes that
write may be on another node of a Ray cluster, so they are told through Ray.
"""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig, open_dict

METRICS = "metrics"
"""Folder of the jsonl files, named by the time of their start."""


def send_logs_to_run(config: DictConfig, run: Path, stamp: str) -> dict[str, str]:
    """Set verl's environment variables for logs, here and for Ray's processes; what the user has set stays."""
    wanted = {
        "VERL_FILE_LOGGER_PATH": str(run / METRICS / f"{stamp}.jsonl"),
        "TENSORBOARD_DIR": str(run / "tensorboard"),
    }
    variables = {name: os.environ.setdefault(name, value) for name, value in wanted.items()}
    Path(variables["VERL_FILE_LOGGER_PATH"]).parent.mkdir(parents=True, exist_ok=True)
    if "ray_kwargs" in config:
        with open_dict(config):
            environment = config.ray_kwargs.ray_init.runtime_env
            environment.env_vars = {**variables, **(environment.get("env_vars") or {})}
    return variables
