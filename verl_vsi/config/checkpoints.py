"""Checkpoints of a run's folder: whose settings each was made with, whether it is whole, and which are too many.

verl writes `global_step_N` and then the number N into a tracker. Each of ours also holds `vsi_run.json`, the record of
the start that wrote it, `vsi_files.json`, the size of every file, and `vsi_step.json`, what was measured in its step.
So a checkpoint is held against its own settings, whatever was started in the folder since, one that was cut short is
known before Ray starts, and a step that is in a checkpoint is in the curves.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, SupportsFloat

from verl_vsi.data_adapters.files import write_bytes, write_text

TRACKER = "latest_checkpointed_iteration.txt"
"""verl's, in PPO and SFT alike."""

RECORD, SIZES, STEP = "vsi_run.json", "vsi_files.json", "vsi_step.json"
_NOTES = (RECORD, SIZES, STEP)
RECORD_VARIABLE = "VSI_RECORD"
"""Environment variable of a run's processes: the provenance file of its start."""

_PREFIX = "global_step_"
_ACTOR, _DATA = "actor", "data.pt"
_READ_WHOLE = 2 << 30
"""Bytes of a checkpoint up to which every file's checksum is looked at before a resume (some seconds)."""


def step_folder(run: Path, step: int) -> Path:
    """Folder of the checkpoint of a step.

    Args:
        run: folder of the run (`trainer.default_local_dir`).
        step: of training.
    """
    return run / f"{_PREFIX}{step}"


def tracked_step(run: Path) -> int | None:
    """The step that verl's tracker names; None where it names none."""
    try:
        return int((run / TRACKER).read_text())
    except (OSError, ValueError):
        return None


def saved_steps(run: Path) -> list[int]:
    """Steps of the checkpoints of ours in a run's folder, in the order in which they were written."""
    folders = [file.parent for file in run.glob(f"{_PREFIX}*/{SIZES}") if file.parent.name[len(_PREFIX) :].isdigit()]
    ordered = sorted(folders, key=lambda folder: (folder / SIZES).stat().st_mtime_ns)
    return [int(folder.name[len(_PREFIX) :]) for folder in ordered]


def seal(folder: Path) -> None:
    """Note in a checkpoint that has been written whose it is and how large its files are."""
    record = os.environ.get(RECORD_VARIABLE)
    if record and Path(record).is_file():
        write_text(folder / RECORD, Path(record).read_text(encoding="utf-8"))
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in _files(folder)}
    write_text(folder / SIZES, json.dumps(sizes, indent=1, sort_keys=True) + "\n")


def note_step(folder: Path, step: int, metrics: Mapping[str, Any]) -> None:
    """Keep in a checkpoint what its step has measured so far: verl logs a step only after it has saved and validated.

    Args:
        folder: `global_step_N`.
        step: N.
        metrics: numbers by name.
    """
    numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, SupportsFloat)}
    note = {"start": Path(os.environ.get(RECORD_VARIABLE, "")).stem, "line": {"step": step, "data": numbers}}
    write_text(folder / STEP, json.dumps(note) + "\n")


def step_saved_by(run: Path, start: str) -> int | None:
    """The step of the newest checkpoint, where a start has written it; None for another's.

    Args:
        run: the run's folder.
        start: name of its record.
    """
    step = tracked_step(run)
    return step if step is not None and _read_note(step_folder(run, step)).get("start") == start else None


def recover_step(run: Path, log: Path) -> bool:
    """Append the newest checkpoint's step to the log of its start, if that was killed before it logged the step.

    Args:
        run: the run's folder.
        log: verl's JSON lines of a start, named by it, which no process writes any more.

    Returns:
        Whether there was such a step.
    """
    step = step_saved_by(run, log.stem)
    if step is None or not log.is_file():
        return False
    content = log.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if any(json.loads(line)["step"] == step for line in whole.splitlines()):
        return False
    write_bytes(log, whole + json.dumps(_read_note(step_folder(run, step))["line"]).encode() + b"\n")
    return True


def _read_note(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return json.loads((folder / STEP).read_text(encoding="utf-8"))
    return {}


def record_of(folder: Path) -> dict[str, Any] | None:
    """The record of the start that wrote a checkpoint; None where it holds none."""
    with suppress(OSError, ValueError):
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return None


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files, naming the first; None where nothing is known to be.

    Args:
        folder: `global_step_N`; one without a list of sizes (of an earlier version) is taken as it is.
    """
    if not (folder / SIZES).is_file():
        return None
    sizes: dict[str, int] = json.loads((folder / SIZES).read_text(encoding="utf-8"))
    whole = sum(sizes.values()) <= _READ_WHOLE
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != size:
            return f"{file} has {file.stat().st_size} bytes, and {size} were written"
        if file.suffix == ".pt" and (fault := _zip_fault(file, whole)):
            return f"{file} is damaged ({fault})"
    return None


def _zip_fault(file: Path, whole: bool) -> str | None:
    """torch's files are zip archives, with a checksum for each member."""
    try:
        with zipfile.ZipFile(file) as archive:
            member = archive.testzip() if whole else None
    except (zipfile.BadZipFile, OSError) as error:
        return str(error)
    return f"checksum of {member}" if member else None


def tidy(run: Path, keep: int) -> list[int]:
    """Remove the actors of checkpoints of ours beyond the newest `keep`, and what is then a husk.

    verl's own checkpoint manager counts anew at every start, so one that a run resumed from would be kept for ever,
    and of those that it removes, the trainer's `data.pt` stays, so that they look like checkpoints (verl#7395). The
    folder of a step goes where only `data.pt` and our notes are left in it; a critic and files of the user's stay.

    Args:
        run: the run's folder.
        keep: how many stay, at least one.

    Returns:
        The steps that were removed.
    """
    surplus = saved_steps(run)[:-keep]
    for step in surplus:
        folder = step_folder(run, step)
        shutil.rmtree(folder / _ACTOR, ignore_errors=True)
        if {file.name for file in folder.iterdir()} <= {_DATA, *_NOTES}:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            for name in _NOTES:
                (folder / name).unlink(missing_ok=True)
    return surplus


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in _NOTES)
