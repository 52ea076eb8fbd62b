"""Run a command and end its whole process group when standard input closes. Standard library only: starts at once.

Usage: python process_guard.py COMMAND...   (as the leader of a session of its own; see `server.serve`)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE = 10.0
"""Seconds between asking the command to end and forcing its group."""


def main(command: list[str]) -> None:
    """Run until the command ends or standard input closes; then end the group, this process included."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch_input, args=(process,), daemon=True).start()
    status = process.wait()
    print(f"process_guard: the command ended with status {status}", file=sys.stderr, flush=True)
    _end_group()


def _watch_input(process: subprocess.Popen[bytes]) -> None:
    """Standard input closes when whoever started this is done with it, or dead."""
    while os.read(0, 4096):
        pass
    process.send_signal(signal.SIGTERM)
    time.sleep(PATIENCE)
    _end_group()


def _end_group() -> None:
    """What the command left behind goes with it."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
