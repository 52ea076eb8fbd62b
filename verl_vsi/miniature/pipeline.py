"""A pipeline of ordinary commands, one after the other, visibly; an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from verl_vsi.data_adapters.files import write_text
from verl_vsi.lifetime.process_guard import guarded, release
from verl_vsi.lifetime.run_lock import RunLock

RECORD = "phases.json"
"""The stages that ended well, beside their outputs: name -> command and seconds."""


@dataclass(frozen=True)
class Stage:
    """One command of a pipeline.

    Args:
        name: what the user reads.
        command: the public command, as the user would type it.
        output: a file or folder that is there once the command has ended well.
        limit: seconds after which it is stopped: a failed weight sync hangs rather than raises.
        retries: how often it is started again when it did not end well (training resumes by itself).
    """

    name: str
    command: tuple[str, ...]
    output: Path
    limit: float = 900
    retries: int = 0


class StageError(RuntimeError):
    """A stage did not end well; the message holds its command, the log's end, and the fix."""


def run_stages(stages: Sequence[Stage], folder: Path, console: Console) -> dict[str, float]:
    """Run the stages that are not done yet.

    Args:
        stages: in order; one is done when `folder`/phases.json has it with the same command and its output exists.
        folder: logs go to `folder`/logs.
        console: where progress is shown.

    Returns:
        seconds by the stage's name, those of earlier starts included.

    Raises:
        StageError: a command failed or ran past its limit; what is done is kept.
        RunBusyError: another process runs stages in this folder.
    """
    lock = RunLock(folder)
    lock.acquire()
    try:
        return _run_undone(stages, folder, console)
    finally:
        lock.clear()
        lock.release()


def _run_undone(stages: Sequence[Stage], folder: Path, console: Console) -> dict[str, float]:
    file = folder / RECORD
    entries: dict[str, dict[str, object]] = json.loads(file.read_text()) if file.exists() else {}
    for number, stage in enumerate(stages, 1):
        label = f"[{number}/{len(stages)}] {stage.name}"
        if _is_done(stage, entries.get(stage.name)):
            console.print(f"[dim]{label}: done before, {entries[stage.name]['seconds']:.0f} s[/dim]")
            continue
        seconds = _run(stage, folder / "logs" / f"{stage.name}.log", label, console)
        entries[stage.name] = {"command": list(stage.command), "seconds": round(seconds, 1)}
        write_text(file, json.dumps(entries, indent=1))
        console.print(f"{label}: {seconds:.0f} s")
    return {stage.name: float(str(entries[stage.name]["seconds"])) for stage in stages}


def _is_done(stage: Stage, entry: dict[str, object] | None) -> bool:
    return entry is not None and entry["command"] == list(stage.command) and stage.output.exists()


def _run(stage: Stage, log: Path, label: str, console: Console) -> float:
    """Start the command, with retries; returns its wall seconds."""
    log.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"[dim]$ {shlex.join(stage.command)}[/dim]", soft_wrap=True)
    start, code = time.monotonic(), None
    for attempt in range(stage.retries + 1):
        if code is not None:
            console.print(f"[yellow]{label}: ended with status {code}; start {attempt + 1}[/yellow]")
        code = _attempt(stage, log, label, console)
        if code == 0 and stage.output.exists():
            return time.monotonic() - start
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
    raise StageError(
        f"{stage.name} ended with status {code} ({stage.output} is there: {stage.output.exists()}).\n"
        f"Command: {shlex.join(stage.command)}\nThe end of {log}:\n{tail}\n"
        "Run the same command again: what is done is kept, and training goes on from its last checkpoint."
    )


def _attempt(stage: Stage, log: Path, label: str, console: Console) -> int:
    """One start under a guard, so that nothing of it outlives it or this process; returns the exit status."""
    with log.open("ab") as out:
        guard = guarded(stage.command, out)
    start = time.monotonic()
    try:
        with console.status(label) as status:
            while guard.poll() is None and time.monotonic() - start < stage.limit:
                time.sleep(0.5)
                status.update(f"{label}  {time.monotonic() - start:.0f} s  [dim]{_last_line(log)}[/dim]")
    finally:
        code = release(guard)
    return code


def _last_line(log: Path, width: int = 90) -> str:
    """The log's last line, cut to `width`, with rich's markup signs made harmless."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last[:width].replace("[", "(").replace("]", ")")
