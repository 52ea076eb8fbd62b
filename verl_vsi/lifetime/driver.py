"""A training's driver from its start to its end: alone in its folder, and every way to end says how to go on.

verl's driver waits in one `ray.get`. A signal, or a process of the run that died, ends that wait by KeyboardInterrupt
or SystemExit, which Hydra lets through; `Driver` then says what happened, notes it in the run's record, and exits with
the status that shells expect: 130 after SIGINT, 143 after SIGTERM, 1 where a process of the run has died.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from verl_vsi.config import provenance
from verl_vsi.config.checkpoints import step_folder, tracked_step
from verl_vsi.lifetime.dead_actors import explain_deaths, watch_actors
from verl_vsi.lifetime.full_disk import explain_full_disk
from verl_vsi.lifetime.keeper import Keeper, clear_away
from verl_vsi.lifetime.leftovers import Leftovers, socket_variables
from verl_vsi.lifetime.run_lock import RunLock

STATUSES = {"completed": 0, "failed": 1, "interrupted": 130, "terminated": 143}
"""How a start can end, and what the driver exits with; `died` is the keeper's word for a driver that could not say."""


class Driver:
    """This process as the driver of one start.

    Args:
        folder: the run's (`trainer.default_local_dir`).
        record: the provenance file of this start.
    """

    def __init__(self, folder: Path, record: Path) -> None:  # noqa: D107
        self.folder, self.record = folder, record
        self.lock = RunLock(folder)
        self._keeper: Keeper | None = None
        self._death = ""
        self._interrupted = self._ended = False

    def begin(self) -> None:
        """Take the folder, clear away what a killed start has left, and prepare for every end.

        Raises:
            RunBusyError: another run is in the folder.
        """
        killed = self.lock.acquire(self.record)
        if killed is not None and killed.record:
            clear_away(self.folder, Path(killed.record), Leftovers(), "died")
        os.environ.update(socket_variables(self.record))
        self._keeper = Keeper(self.folder, self.record, self.lock)
        atexit.register(self._exit)
        signal.signal(signal.SIGTERM, _terminate)  # until Ray's own handler, which exits as well
        sys.excepthook = self._excepthook(sys.excepthook)
        threading.Thread(target=watch_actors, args=(self._on_death,), daemon=True).start()

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Note how the run ends and say how to go on; only the first call counts.

        Args:
            status: one of `STATUSES`.
            error: what ended it.
        """
        if self._ended or self._keeper is None:
            return
        self._ended = True
        self._keeper.tell(status)
        with suppress(OSError):  # on a full disk what happened is said all the same
            provenance.finish(self.record, status)
        if status == "completed":
            return
        deaths = self._death or (explain_deaths() if status == "failed" else "")
        causes = (deaths, explain_full_disk(self.folder, error))
        for line in (*filter(None, causes), self._way_on(status)):
            print(f"verl-vsi: {line}", file=sys.stderr, flush=True)

    def _way_on(self, status: str) -> str:
        last, saved = provenance.last_step(self.record), tracked_step(self.folder)
        after = f"{status} after step {last}" if last is not None else f"{status} before its first step"
        if saved is None:
            return f"{after}; there is no checkpoint yet, so the same command starts over"
        return f"{after}; the same command goes on from step {saved} ({step_folder(self.folder, saved)})"

    def _on_death(self, cause: str) -> None:
        if self._ended:
            return
        self._death = cause
        # a job that a script starts with "&" ignores SIGINT
        heeded = signal.SIGTERM if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else signal.SIGINT
        signal.pthread_kill(threading.main_thread().ident or 0, heeded)

    def _excepthook(self, upstream: Callable[..., Any]) -> Callable[..., Any]:
        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if issubclass(kind, KeyboardInterrupt):
                self._interrupted = True
                self.end("failed" if self._death else "interrupted")  # while the run's processes are there
            else:
                upstream(kind, error, trace)

        return hook

    def _exit(self) -> None:
        """Last of all that runs at exit, but for what was registered before Ray: so Ray is ended here."""
        if self._ended and not self._interrupted:
            return
        status = "failed" if self._death else "interrupted" if self._interrupted else "terminated"
        self.end(status)
        if (ray := sys.modules.get("ray")) is not None:
            ray.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(STATUSES[status])


def _terminate(*_: object) -> None:
    raise SystemExit(STATUSES["terminated"])
