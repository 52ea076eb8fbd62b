"""A run resumes from what lies in its folder: other settings there would be mixed in, silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from verl_vsi.config.access import flatten
from verl_vsi.config.problems import Problem
from verl_vsi.config.provenance import latest, resolved

LATEST_STEP = "latest_checkpointed_iteration.txt"
"""verl's tracker, in PPO and SFT alike."""

MAY_CHANGE = ("trainer", "ray_kwargs", "global_profiler", "transfer_queue", "vsi.root", "vsi.hardware", "vsi.checks")
"""Nodes that a resumed run may change: how long, where and on what it runs."""

_SHOWN = 4


def check_resume(config: DictConfig) -> Iterator[Problem]:
    """The checkpoint that verl would resume from was made with these settings."""
    folder = Path(config.trainer.default_local_dir)
    if config.trainer.resume_mode != "auto" or not (folder / LATEST_STEP).is_file():
        return
    before = latest(folder)
    changed = [] if before is None else changes(before["resolved"], resolved(config))
    if changed:
        yield Problem(
            f"{folder} holds a checkpoint of a run with other settings: {'; '.join(changed[:_SHOWN])}"
            + (f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""),
            "set trainer.experiment_name=another-name, or trainer.resume_mode=disable to start over in that folder",
        )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``key: old -> new`` of every setting that differs and matters to what a checkpoint means."""
    old, new = flatten(before), flatten(now)
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not _may_change(key)
    ]


def _may_change(key: str) -> bool:
    # data.vsi repeats vsi
    plain = key.removeprefix("data.")
    return any(plain == node or plain.startswith(f"{node}.") for node in MAY_CHANGE)
