"""Work in processes that can be ended: every call has limits, and a lost process is named with the likely cause.

Python's own pools share a fate: one worker that crashes, hangs or is killed for memory takes the pool with it, and none
can be ended in the middle of a call. Here each worker is a process of its own behind a pipe; a thread waits for it.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import LifoQueue
from typing import Any, TypeVar

R = TypeVar("R")

IDLE = 60.0
"""Seconds after which a worker that nobody calls ends itself."""

START = 120.0
"""Seconds that a process may take to start and import, on a busy machine."""


class OutOfTimeError(Exception):
    """A call took longer than its limit; its process was ended."""


class CrashError(Exception):
    """The process of a call crashed: a fault of what it called, in native code, over what it was given."""


@dataclass(frozen=True)
class Limits:
    """What one call may take.

    Args:
        seconds: from its start, imports not counted; None: any.
        memory: bytes beyond what its process has at the start (Linux; elsewhere there is no limit); None: any.
        imports: modules that the call needs and that take long to load.
    """

    seconds: float | None = None
    memory: int | None = None
    imports: tuple[str, ...] = ()


class WorkerProcess:
    """A Python process that calls functions, one at a time, and ends when the process that started it does."""

    def __init__(self) -> None:
        """Start it; it has this process's import path and one thread for arithmetic."""
        self._pipe, theirs = Pipe()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _serve; "
            f"_serve({theirs.fileno()}, {os.getpid()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._called = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether it can be called; not when it is about to end itself."""
        return self._process.poll() is None and time.monotonic() - self._called < IDLE / 2

    def call(self, function: Callable[..., R], *args: Any, limits: Limits = Limits()) -> R:
        """``function(*args)`` in the process; what it raises is raised here.

        Args:
            function: one that pickles, as do `args` and the result.
            args: its arguments.
            limits: of this call.

        Raises:
            OutOfTimeError: the time is up.
            MemoryError: the memory is.
            CrashError: the process crashed.
            ChildProcessError: it was killed from outside; says the likely cause.
        """
        try:
            self._pipe.send((function, args, limits))
            self._receive(START)  # its imports are done
            error, value = self._receive(limits.seconds)
        except (EOFError, ConnectionError) as lost:
            self._close()
            raise _loss(self._process.wait()) from lost
        finally:
            self._called = time.monotonic()
        if error is not None:
            raise error from _RemoteTracebackError(value)
        return value

    def _receive(self, seconds: float | None) -> Any:
        if self._pipe.poll(seconds):
            return self._pipe.recv()
        self.stop()
        self._close()
        raise OutOfTimeError(f"it took over {seconds:g} s")

    def stop(self) -> None:
        """End it, whatever it is at; a thread that waits for it gets a ChildProcessError."""
        self._process.kill()
        self._process.wait()

    def _close(self) -> None:
        self._process.wait()
        self._pipe.close()


def _loss(status: int) -> Exception:
    if status == -signal.SIGKILL:
        return ChildProcessError(
            "a worker process was killed from outside (signal 9), most likely because the machine or its container "
            "ran out of memory (`dmesg`, memory.events); take fewer --workers or more memory; what is finished is "
            "kept, and the same command goes on where it was"
        )
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return CrashError(f"its process crashed ({how}), in native code")


class _RemoteTracebackError(Exception):
    """The worker's traceback, shown above the error that is raised here."""


class WorkerPool:
    """Up to `size` worker processes, started when they are needed, shared by the threads that call.

    Args:
        size: calls that run at once; further ones wait.
    """

    def __init__(self, size: int) -> None:  # noqa: D107
        self._size = size
        self._reset()

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._busy: set[WorkerProcess] = set()
        self._free: LifoQueue[WorkerProcess | None] = LifoQueue()  # None: one that can be started
        for _ in range(self._size):
            self._free.put(None)

    def call(self, function: Callable[..., R], *args: Any, limits: Limits = Limits()) -> R:
        """As `WorkerProcess.call`, in one that is free.

        Args:
            function: one that pickles.
            args: its arguments.
            limits: of this call.
        """
        if self._owner != os.getpid():
            self._reset()  # a fork's copy: the workers are its parent's
        worker = self._free.get()
        try:
            worker = worker if worker is not None and worker.alive else WorkerProcess()
            self._busy.add(worker)
            return worker.call(function, *args, limits=limits)
        finally:
            self._busy -= {worker}
            self._free.put(worker if worker is not None and worker.alive else None)

    def end(self) -> None:
        """Stop all workers, in the middle of what they are at; the threads that wait for them get an error."""
        if self._owner == os.getpid():
            for worker in [*self._busy, *self._free.queue]:
                if worker is not None:
                    worker.stop()


def _serve(handle: int, parent: int) -> None:
    """A worker's life: calls from the pipe `handle`, until it is closed, idle for long, or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    end_with(parent)
    pipe = Connection(handle)
    with suppress(EOFError, ConnectionError):
        while pipe.poll(IDLE):
            _answer(pipe)


def end_with(parent: int) -> None:
    """Let this process end within a second of its parent, however that ends; `parent` is the parent's number."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _answer(pipe: Connection) -> None:
    answer: tuple[BaseException | None, Any]
    try:
        function, args, limits = pipe.recv()
        for name in limits.imports:
            with suppress(ImportError):  # the call says it better
                import_module(name)
        pipe.send("begin")
        with _memory_limit(limits.memory):
            answer = (None, function(*args))
        pipe.send(answer)
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        pipe.send((_portable(error), traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    """The error, or its words where it does not survive pickling."""
    try:
        return pickle.loads(pickle.dumps(error))  # our own process's bytes
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


@contextmanager
def _memory_limit(size: int | None) -> Iterator[None]:
    """No more than `size` further bytes of writable memory: what asks for more gets a MemoryError."""
    status = Path("/proc/self/status")
    if size is None or not status.exists():
        yield
        return
    kib = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmData"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (kib * 1024 + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
