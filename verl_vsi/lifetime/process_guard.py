"""Run a command and end all of its processes when standard input closes: on a normal end, or when the starter is dead.

Usage: python -m verl_vsi.lifetime.process_guard COMMAND...   (see `guarded`)
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from verl_vsi.config.checkpoints import RECORD_VARIABLE
from verl_vsi.lifetime.leftovers import Leftovers, socket_variables

PATIENCE = 20.0
"""Seconds between asking the command to end and forcing it."""
_INTERVAL, _FIRST_LOOK, _LAST_LOOK = 0.25, 4.0, 30.0
"""Seconds between two looks at the command, and at what its processes have open (doubled from one to the other)."""
_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""


def guarded(
    command: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command under a guard of its own.

    Args:
        command: to run.
        output: where its output goes.
        environment: its variables; this process's by default.

    Returns:
        The guard; it ends with the command's status. `release` ends both.
    """
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # no Ctrl-C reaches it: it ends when its starter lets go of it, or dies
        env=environment,
    )


def release(guard: subprocess.Popen[bytes]) -> int:
    """End a guard's command, if it still runs; returns the status when nothing of it is left."""
    if guard.stdin is not None:
        guard.stdin.close()
    try:
        return guard.wait(2 * PATIENCE)
    except subprocess.TimeoutExpired:
        guard.kill()
        return guard.wait()


def main(command: list[str]) -> int:
    """Run until the command ends or standard input closes; then end its group and remove what it has left.

    Returns:
        The command's exit status, 128 + n for one that signal n has ended.
    """
    since, mark = time.time(), Path(f"guard-{os.getpid()}")
    environment = {**os.environ, **socket_variables(mark), RECORD_VARIABLE: str(mark)}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, env=environment, preexec_fn=_end_with_parent
    )
    leftovers = Leftovers()
    _wait(process, leftovers, mark)
    leftovers.look(mark)
    status = _end(process)
    leftovers.remove(None, since)
    print(f"process_guard: the command ended with status {status}", file=sys.stderr, flush=True)
    return status if status >= 0 else 128 - status


def _end_with_parent() -> None:
    """In the command, before its first line: Linux sends it SIGTERM when the guard is killed outright."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], leftovers: Leftovers, mark: Path) -> None:
    pause, next_look = _FIRST_LOOK, time.monotonic() + _FIRST_LOOK
    while process.poll() is None:
        readable, _, _ = select.select([0], [], [], _INTERVAL)
        if readable and not os.read(0, 4096):
            return
        if time.monotonic() > next_look:
            leftovers.look(mark)
            pause = min(2 * pause, _LAST_LOOK)
            next_look = time.monotonic() + pause


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ask the command, then force its group, which is what it has left behind where it has ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _let_go(*_: object) -> None:
    """End as if whoever started this had let go: standard input has nothing more."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _let_go)
    sys.exit(main(sys.argv[1:]))
