"""A run resumes from what lies in its folder: other settings there would be mixed in, silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from verl_vsi.config.access import flatten
from verl_vsi.config.checkpoints import TRACKER, damage, record_of, saved_steps, step_folder, tracked_step
from verl_vsi.config.problems import Problem
from verl_vsi.config.provenance import latest, resolved
from verl_vsi.config.secret_values import mask_tree

MAY_CHANGE = ("trainer", "ray_kwargs", "global_profiler", "transfer_queue", "vsi.root", "vsi.hardware", "vsi.checks")
"""Nodes that a resumed run may change: how long, where and on what it runs."""

_SHOWN = 4


def check_resume(config: DictConfig) -> Iterator[Problem]:
    """The checkpoint that verl would resume from is there, is whole, and was made with these settings."""
    run = Path(config.trainer.default_local_dir)
    if config.trainer.resume_mode != "auto" or not (run / TRACKER).is_file():
        return
    step, others = tracked_step(run), [step for step in saved_steps(run) if damage(step_folder(run, step)) is None]
    if step is None or not step_folder(run, step).is_dir():
        yield Problem(
            f"{run / TRACKER} names no checkpoint ({(run / TRACKER).read_text()[:40]!r}), so this run would start over",
            _instead(run, others),
        )
    elif (fault := damage(step_folder(run, step))) and not others:
        yield Problem(f"the checkpoint to resume from is broken: {fault}", _instead(run, others))
    else:
        yield from _check_settings(config, step_folder(run, others[-1] if fault else step))


def whole_checkpoint(config: DictConfig) -> tuple[Path, str] | None:
    """Where the newest checkpoint is broken: the one before it that is whole, and what is wrong; None elsewhere."""
    run = Path(config.trainer.default_local_dir)
    step = tracked_step(run) if config.trainer.resume_mode == "auto" else None
    fault = damage(step_folder(run, step)) if step is not None else None
    others = [step for step in saved_steps(run) if damage(step_folder(run, step)) is None] if fault else []
    return (step_folder(run, others[-1]), fault) if fault and others else None


def _instead(run: Path, steps: Sequence[int]) -> str:
    whole = f"write {steps[-1]} into it ({run}/global_step_{steps[-1]} is whole), or " if steps else ""
    return f"{whole}set trainer.resume_mode=disable to start over, or trainer.experiment_name to another name"


def _check_settings(config: DictConfig, checkpoint: Path) -> Iterator[Problem]:
    before = record_of(checkpoint) or latest(checkpoint.parent)
    # a record of an earlier version may hold what is masked today
    changed = [] if before is None else changes(mask_tree(before["resolved"]), resolved(config))
    if changed:
        yield Problem(
            f"{checkpoint} was made with other settings: {'; '.join(changed[:_SHOWN])}"
            + (f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""),
            "set trainer.experiment_name=another-name, or trainer.resume_mode=disable to start over in that folder",
        )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``key: old -> new`` of every setting that differs and matters to what a checkpoint means.

    Args:
        before: settings of the start that wrote it, resolved.
        now: settings of this start, resolved.
    """
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
