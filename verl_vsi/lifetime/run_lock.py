"""One run to a folder at a time: a lock that ends with the last process that holds it, so that none goes stale.

The operating system takes it back (flock) however its holder ends. What is written in the file only says who that is,
and what a holder that was killed has left behind.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from verl_vsi.lifetime.leftovers import is_alive

FILE = ".vsi.lock"
_PATIENCE = 60.0
"""Seconds to wait for what clears up behind a run that has ended."""


@dataclass(frozen=True)
class Holder:
    """Who holds a run's folder.

    Attributes:
        pid: of the driver.
        host: it runs on.
        since: when it took the lock, in UTC.
        record: the provenance file of its start; empty where it has none.
    """

    pid: int
    host: str
    since: str
    record: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether it surely no longer runs."""
        return self.host == socket.gethostname() and not is_alive(self.pid)


class RunBusyError(RuntimeError):
    """Another process holds the folder."""


class RunLock:
    """The lock of a folder.

    Args:
        folder: a run's (`trainer.default_local_dir`) or the miniature's; made where missing.
    """

    def __init__(self, folder: Path) -> None:  # noqa: D107
        self.path = folder / FILE
        self.descriptor = -1
        self.holder: Holder | None = None

    def acquire(self, record: Path | None = None, patience: float = _PATIENCE) -> Holder | None:
        """Take the folder.

        Args:
            record: the provenance file of this start.
            patience: seconds to wait where the holder itself has ended and only its clearing up goes on.

        Returns:
            Who held it last and did not give it back: it was killed, and what it left is still there.

        Raises:
            RunBusyError: another run is in the folder; names its process, host and start.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        end = time.monotonic() + patience
        while not self._try():
            holder = self._read()
            if (holder is not None and not holder.is_gone) or time.monotonic() > end:
                os.close(self.descriptor)
                raise RunBusyError(_explain(self.path, holder))
            time.sleep(0.2)
        killed = self._read()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.holder = Holder(os.getpid(), socket.gethostname(), now, str(record or ""))
        self._write(self.holder)
        return killed

    def release(self) -> None:
        """Give it back; another process that has the descriptor keeps it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def adopt(self, descriptor: int) -> None:
        """Hold the lock that another process took, by its descriptor."""
        self.descriptor = descriptor
        self.holder = self._read()

    def clear(self) -> None:
        """Note that nothing of the holder is left."""
        os.ftruncate(self.descriptor, 0)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            print(f"verl-vsi: {self.path}: no locks here ({error}); start no second run in it", file=sys.stderr)
        return True

    def _read(self) -> Holder | None:
        with suppress(ValueError, TypeError):
            return Holder(**json.loads(os.pread(self.descriptor, 4096, 0)))
        return None

    def _write(self, holder: Holder) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(asdict(holder)).encode(), 0)


def _explain(path: Path, holder: Holder | None) -> str:
    who = f"process {holder.pid} on {holder.host} since {holder.since}" if holder else "another process"
    return (
        f"{path.parent} is in use by {who}; two runs in one folder would mix their checkpoints. "
        "Wait for it, end it, or take another folder"
    )
