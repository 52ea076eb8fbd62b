"""A process that outlives a training's driver and clears away what it left, however it ended: kill -9 too.

The driver starts it (`start`) and holds one end of a socket. What the driver writes there is how it ends; when the end
closes, the driver is gone. The keeper shares the run folder's lock, so the next run waits until all is cleared away.

Usage: python -m verl_vsi.lifetime.keeper FOLDER RECORD SOCKET LOCK   (see `start`)
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from verl_vsi.config import provenance
from verl_vsi.config.checkpoints import RECORD_VARIABLE, recover_step
from verl_vsi.lifetime.leftovers import Leftovers, end_processes
from verl_vsi.lifetime.run_lock import RunLock

_PATIENCE = 15.0
"""Seconds that a run's processes have to end by themselves after the driver."""
_ANSWER = 10.0
"""Seconds that a driver waits for the keeper to have looked."""
_FIRST_LOOK, _LAST_LOOK = 4.0, 30.0
"""Seconds between two looks at what a run's processes have open: doubled from the one to the other."""
RAY_LOGS = "ray_logs"
"""Folder in a run's folder with Ray's logs of starts that did not end well."""


class Keeper:
    """The driver's end.

    Args:
        folder: the run's.
        record: the provenance file of this start.
        lock: of the folder, held.
    """

    def __init__(self, folder: Path, record: Path, lock: RunLock) -> None:
        """Start the process, in a session of its own: no Ctrl-C reaches it."""
        self._end, other = socket.socketpair()
        words = [str(folder), str(record), str(other.fileno()), str(lock.descriptor)]
        environment = {name: value for name, value in os.environ.items() if name != RECORD_VARIABLE}
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, *words],
            env=environment,
            pass_fds=(other.fileno(), lock.descriptor),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        other.close()

    def tell(self, status: str) -> None:
        """Say how the run ends, while its processes are there; returns once the keeper has seen them."""
        try:
            self._end.settimeout(_ANSWER)
            self._end.sendall(status.encode())
            self._end.recv(1)
        except OSError:
            return  # the keeper was killed: the next start clears away instead


def serve(folder: Path, record: Path, end: socket.socket, lock: RunLock) -> None:
    """The keeper's life: wait for the driver to end, then clear away.

    Args:
        folder: the run's.
        record: the provenance file of the start.
        end: socket to the driver.
        lock: of the folder, adopted.
    """
    leftovers, status, pause = Leftovers(), "died", _FIRST_LOOK
    while True:
        heard, _, _ = select.select([end], [], [], pause)
        leftovers.look(record)
        pause = min(2 * pause, _LAST_LOOK)
        if not heard:
            continue
        if not (word := end.recv(64)):
            break
        status = word.decode()
        end.sendall(b".")
    clear_away(folder, record, leftovers, status)
    lock.clear()


def clear_away(folder: Path, record: Path, leftovers: Leftovers, status: str) -> None:
    """End a run's processes, keep what they had measured, note how the run ended, remove what they left.

    Args:
        folder: the run's.
        record: the provenance file of the start; may never have been written.
        leftovers: what was seen of it before.
        status: how it ended.
    """
    leftovers.look(record)
    end_processes(record, _PATIENCE)
    if record.is_file():
        recover_step(folder, provenance.log_of(record))
        provenance.finish(record, status)
    logs = None if status == "completed" else folder / RAY_LOGS / record.stem
    leftovers.remove(logs, provenance.time_of(record))


def main(folder: str, record: str, descriptor: str, lock_descriptor: str) -> None:
    """See the module.

    Args:
        folder: of the run.
        record: provenance file.
        descriptor: of the socket.
        lock_descriptor: of the folder's lock.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its work is done, some seconds after the driver
    lock = RunLock(Path(folder))
    lock.adopt(int(lock_descriptor))
    serve(Path(folder), Path(record), socket.socket(fileno=int(descriptor)), lock)


if __name__ == "__main__":
    main(*sys.argv[1:])
