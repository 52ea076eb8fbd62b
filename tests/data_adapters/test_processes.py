"""Worker processes: right results in order, limits that hold, and a lost process named with its cause."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from verl_vsi.data_adapters import processes
from verl_vsi.data_adapters.processes import CrashError, Limits, OutOfTimeError, WorkerPool
from verl_vsi.data_adapters.work import in_processes


@pytest.fixture(scope="module")
def pool() -> WorkerPool:
    return WorkerPool(1)


def test_more_items_than_workers_come_back_in_order() -> None:
    assert list(in_processes(operator.neg, range(23), workers=3)) == [-i for i in range(23)]


def test_few_items_or_one_worker_stay_in_this_process() -> None:
    assert set(in_processes(_pid, range(3), workers=4, least=4)) == {os.getpid()}
    assert set(in_processes(_pid, range(3), workers=1)) == {os.getpid()}


def _pid(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        pytest.param((json.loads, "{"), json.JSONDecodeError, "property name", id="it raises"),
        pytest.param((av.open, "/none"), FileNotFoundError, "/none", id="it raises what C code made"),
        pytest.param((open, os.devnull), TypeError, "pickle", id="its result does not pickle"),
        pytest.param((time.sleep, 30), OutOfTimeError, "over 0.5 s", id="it hangs"),
        pytest.param((bytes, 1 << 30), MemoryError, "", id="it takes all memory"),
        pytest.param((os.abort,), CrashError, "SIGABRT", id="it crashes"),
        pytest.param((signal.raise_signal, 9), ChildProcessError, "ran out of memory.*fewer --workers", id="killed"),
        pytest.param((os._exit, 3), CrashError, "exit status 3", id="it ends the process"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_an_error_here_and_the_next_call_works(
    pool: WorkerPool, call: tuple[Callable[..., Any], Any], error: type[Exception], words: str
) -> None:
    start = time.monotonic()
    with pytest.raises(error, match=words):
        pool.call(call[0], *call[1:], limits=Limits(seconds=0.5, memory=200 << 20))
    assert time.monotonic() - start < 20
    assert pool.call(operator.add, 1, 2) == 3


def test_a_limit_of_memory_is_for_one_call_only(pool: WorkerPool) -> None:
    with pytest.raises(MemoryError):
        pool.call(bytearray, 1 << 28, limits=Limits(memory=50 << 20))
    assert len(pool.call(bytearray, 1 << 27)) == 1 << 27


def test_a_lost_worker_ends_the_whole_work_with_one_sentence() -> None:
    with pytest.raises(ChildProcessError, match="killed from outside") as caught:
        list(in_processes(signal.raise_signal, [9] * 5, workers=2))
    assert "\n" not in str(caught.value)


def test_an_idle_worker_ends_itself_and_a_new_one_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool(1)
    first = pool.call(os.getpid)
    assert pool.call(os.getpid) == first
    monkeypatch.setattr(processes, "IDLE", 0.0)
    assert pool.call(os.getpid) != first


def test_a_fork_has_workers_of_its_own(pool: WorkerPool) -> None:
    worker = pool.call(os.getpid)
    child = os.fork()
    if not child:
        os._exit(int(pool.call(os.getpid) == worker))
    assert os.waitpid(child, 0)[1] == 0
    assert pool.call(os.getpid) == worker


def test_a_worker_ends_with_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
import pathlib, time, threading, os
from verl_vsi.data_adapters.processes import WorkerPool
pool = WorkerPool(1)
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(pool.call(os.getpid)))
pool.call(time.sleep, 60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    while parent.poll() is None and not (tmp_path / "pid").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    worker, deadline = Path(f"/proc/{(tmp_path / 'pid').read_text()}"), time.monotonic() + 20
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists()
