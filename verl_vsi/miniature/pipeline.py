"""Run a list of ordinary commands one after the other, visibly, and go on where an interrupted run stopped."""

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


@dataclass(frozen=True)
class Phase:
    """One step of a story.

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


class PhaseError(RuntimeError):
    """A phase did not end well; the message holds its command, the log's end, and the way on."""


def run_phases(phases: Sequence[Phase], folder: Path, console: Console) -> dict[str, float]:
    """Run what is not done yet; returns seconds by phase name, those of earlier starts included.

    Args:
        phases: in order; a phase is done when `folder`/phases.json says so for the same command and its output exists.
        folder: logs go to `folder`/logs.
        console: where progress is shown.

    Raises:
        PhaseError: a command failed or ran past its limit.
        RunBusyError: another process runs phases in this folder.
    """
    lock = RunLock(folder)
    lock.acquire()
    try:
        return _run_undone(phases, folder, console)
    finally:
        lock.clear()
        lock.release()


def _run_undone(phases: Sequence[Phase], folder: Path, console: Console) -> dict[str, float]:
    record = folder / "phases.json"
    done: dict[str, dict[str, object]] = json.loads(record.read_text()) if record.exists() else {}
    for number, phase in enumerate(phases, 1):
        label = f"[{number}/{len(phases)}] {phase.name}"
        if _is_done(done.get(phase.name), phase):
            console.print(f"[dim]{label}: done before, {done[phase.name]['seconds']:.0f} s[/dim]")
            continue
        seconds = _run(phase, folder / "logs" / f"{phase.name}.log", label, console)
        done[phase.name] = {"command": list(phase.command), "seconds": round(seconds, 1)}
        write_text(record, json.dumps(done, indent=1))
        console.print(f"{label}: {seconds:.0f} s")
    return {phase.name: float(str(done[phase.name]["seconds"])) for phase in phases}


def _is_done(entry: dict[str, object] | None, phase: Phase) -> bool:
    return entry is not None and entry["command"] == list(phase.command) and phase.output.exists()


def _run(phase: Phase, log: Path, label: str, console: Console) -> float:
    """Start the command, with retries; returns its wall seconds."""
    log.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"[dim]$ {shlex.join(phase.command)}[/dim]", soft_wrap=True)
    start, code = time.monotonic(), None
    for attempt in range(phase.retries + 1):
        if code is not None:
            console.print(f"[yellow]{label}: ended with status {code}; start {attempt + 1}[/yellow]")
        code = _attempt(phase, log, label, console)
        if code == 0 and phase.output.exists():
            return time.monotonic() - start
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
    raise PhaseError(
        f"{phase.name} ended with status {code} ({phase.output} is there: {phase.output.exists()}).\n"
        f"Command: {shlex.join(phase.command)}\nThe end of {log}:\n{tail}\n"
        "Run the same command again: what is done is kept, and training goes on from its last checkpoint."
    )


def _attempt(phase: Phase, log: Path, label: str, console: Console) -> int:
    """One start under a guard, so that nothing of it outlives it or this process; returns the exit status."""
    with log.open("ab") as out:
        guard = guarded(phase.command, out)
    start = time.monotonic()
    try:
        with console.status(label) as status:
            while guard.poll() is None and time.monotonic() - start < phase.limit:
                time.sleep(0.5)
                status.update(f"{label}  {time.monotonic() - start:.0f} s  [dim]{_last_line(log)}[/dim]")
    finally:
        code = release(guard)
    return code


def _last_line(log: Path, width: int = 90) -> str:
    """The log's last line, cut to `width`, with rich's markup signs made harmless."""
    with log.open("rb") as f:
        f.seek(max(0, log.stat().st_size - 2000))
        lines = f.read().decode(errors="replace").replace("\r", "\n").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last[:width].replace("[", "(").replace("]", ")")
