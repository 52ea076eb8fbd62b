"""Training curves from verl's own logs: its file logger's JSON lines, or tensorboard; starts of one run are joined."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from verl_vsi.config import provenance
from verl_vsi.evaluation.score.scores import Array, merge_directions
from verl_vsi.evaluation.task_columns import VSIBENCH

METRICS = "metrics"
"""Folder in a run's folder that holds one file a start."""

REWARD = "train-aux/all/reward/{}/mean"
"""What a term of the reward is logged as."""

Log = dict[int, dict[str, float]]
"""step -> metric -> value."""

_HELD_OUT = re.compile(r"val-core/(?P<source>.+)/acc/mean@\d+")


@dataclass(frozen=True)
class Series:
    """One curve.

    Args:
        steps: (N,) training steps, rising.
        values: (N,) what was logged there.
    """

    steps: Array
    values: Array


@dataclass(frozen=True)
class TrainingLog:
    """All curves of one training run.

    Args:
        name: what a legend calls it.
        log: step -> metric -> value, starts joined.
        starts: first steps of the starts after the first: where it was resumed.
        origin: recipe, seed and model, as the record of its last start has them.
    """

    name: str
    log: Mapping[int, Mapping[str, float]]
    starts: tuple[int, ...] = ()
    origin: str = ""

    def series(self, metric: str) -> Series | None:
        """A metric by verl's name; None where the run never logged it."""
        points = [(step, data[metric]) for step, data in sorted(self.log.items()) if metric in data]
        return _series(points)

    def reward_terms(self) -> set[str]:
        """Terms of the reward that the run logged."""
        before, after = REWARD.split("{}")
        metrics = {metric for data in self.log.values() for metric in data}
        return {m[len(before) : -len(after)] for m in metrics if m.startswith(before) and m.endswith(after)}

    def held_out(self) -> Series | None:
        """Macro average of the validation's tasks at each validation; see `held_out_tasks`."""
        points = []
        for step, data in sorted(self.log.items()):
            if tasks := held_out_tasks(data):
                points.append((step, sum(tasks.values()) / len(tasks)))
        return _series(points)


def held_out_tasks(data: Mapping[str, float]) -> dict[str, float]:
    """The validation scores of one step, a task of the benchmark's table each, 0 to 1.

    verl reports ``val-core/<data source>/acc/mean@n`` and no average of them. Data sources that hold the same task are
    averaged first, then directions are merged, as in `scores.merge_directions`.
    """
    by_task: dict[str, list[float]] = defaultdict(list)
    for metric, value in data.items():
        match = _HELD_OUT.fullmatch(metric)
        task = match["source"].rpartition("/")[2] if match else ""
        if task in (VSIBENCH.types or ()):
            by_task[task].append(value)
    merged = merge_directions({task: np.asarray(sum(values) / len(values)) for task, values in by_task.items()})
    return {task: float(value) for task, value in merged.items()}


def mean_series(curves: Sequence[Series]) -> Series:
    """The mean of some runs' curves, at the steps that all of them have."""
    by_step = [dict(zip(s.steps.tolist(), s.values.tolist(), strict=True)) for s in curves]
    steps = sorted(set.intersection(*map(set, by_step)))
    values = [[curve[step] for curve in by_step] for step in steps]
    return Series(np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64).mean(axis=1))


def read_run(path: str | Path, name: str = "") -> TrainingLog:
    """A run's curves.

    Args:
        path: the run's folder (``trainer.default_local_dir``), a file of verl's file logger, a folder of such files,
            or a tensorboard folder.
        name: for legends; empty: the folder's name.

    Raises:
        ValueError: there are no logs; says where they are looked for.
    """
    path = Path(path)
    logs = [log for file in _jsonl_files(path) if (log := read_jsonl(file))]
    if not logs:
        events = path / "tensorboard" if (path / "tensorboard").is_dir() else path
        logs = [read_tensorboard(events)] if path.is_dir() and list(events.rglob("events.out.tfevents*")) else []
    if not logs:
        raise ValueError(
            f"{path}: no logs of verl. A run's folder holds metrics/*.jsonl (recipes write it), a tensorboard folder "
            "holds events.out.tfevents*; set trainer.logger=[console,file] for the former"
        )
    log, starts = join(logs)
    return TrainingLog(name or (path.name if path.is_dir() else path.stem), log, starts, _origin(path))


def _origin(run: Path) -> str:
    """``, +recipe=vsgrpo_2b mode=think, seed 42, model ...``; empty where there is no record of ours."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = provenance.latest(run) or {}
        return f", {' '.join(record['overrides'])}, seed {record['seed']}, model {record['resolved']['vsi']['model']}"
    return ""


def join(logs: Sequence[Log]) -> tuple[Log, tuple[int, ...]]:
    """The logs of a run's starts, in order of time, as one.

    A start that resumes repeats the steps after its checkpoint: from its first step on, it replaces what an earlier,
    killed start logged. Steps at which both logged different metrics (a validation before training) keep both.

    Returns:
        the joined log, and the first steps of all starts but the first.
    """
    joined: Log = {}
    for log in logs:
        first = min(log)
        earlier = {step: data for step, data in joined.items() if step <= first}
        joined = {step: {**earlier.get(step, {}), **log.get(step, {})} for step in sorted({*earlier, *log})}
    return joined, tuple(min(log) for log in logs[1:])


def read_jsonl(path: Path) -> Log:
    """A file of verl's file logger: one ``{"step", "data"}`` a line; a line cut short by a kill is left out."""
    log: Log = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            numbers = {k: float(v) for k, v in record["data"].items() if isinstance(v, int | float)}
            log.setdefault(int(record["step"]), {}).update(numbers)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return log


def read_tensorboard(folder: Path) -> Log:
    """All scalars of a tensorboard folder; its event files are joined by time, later ones win.

    Raises:
        ValueError: tensorboard is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise ValueError(f"{folder}: reading it needs tensorboard: pip install tensorboard") from error
    files = sorted(folder.rglob("events.out.tfevents*"), key=lambda p: p.stat().st_mtime)
    logs: list[Log] = []
    for file in files:
        events, log = EventAccumulator(str(file), size_guidance={"scalars": 0}), {}
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                log.setdefault(event.step, {})[tag] = event.value
        logs += [log] if log else []
    return join(logs)[0] if logs else {}


def _jsonl_files(path: Path) -> list[Path]:
    """Log files in order of their starts: recipes name them by time."""
    if path.is_file():
        return [path]
    folder = path / METRICS if (path / METRICS).is_dir() else path
    return sorted(folder.glob("*.jsonl"), key=lambda p: (p.name, p.stat().st_mtime))


def _series(points: Sequence[tuple[int, float]]) -> Series | None:
    if not points:
        return None
    steps, values = zip(*points, strict=True)
    return Series(np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64))
