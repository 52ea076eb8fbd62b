"""One run to a folder, and no lock that outlives its holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verl_vsi.lifetime.run_lock import FILE, RunBusyError, RunLock

HOLD = """
import sys, time
from pathlib import Path
from verl_vsi.lifetime.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire(Path("a record"))
print("held", flush=True)
time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_naming_process_and_host(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(RunBusyError, match=rf"in use by process {process.pid} on {os.uname().nodename} since 20"):
        RunLock(tmp_path).acquire(patience=0)
    process.kill()
    process.wait()


def test_the_lock_of_a_killed_run_is_taken_and_says_whose_it_was(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.wait()
    killed = RunLock(tmp_path).acquire(patience=0)
    assert killed is not None
    assert (killed.pid, killed.record, killed.is_gone) == (process.pid, "a record", True)


def test_a_lock_that_was_given_back_says_nothing(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "new")
    assert lock.acquire() is None
    lock.clear()
    lock.release()
    assert RunLock(tmp_path / "new").acquire() is None


def test_a_lock_file_cut_short_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"pid": 1')
    assert RunLock(tmp_path).acquire() is None
