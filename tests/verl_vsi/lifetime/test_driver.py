"""However a driver ends, its record says how, its processes and what they left are gone, and the folder is free.

A driver here is a process of ours with a child, shared memory and a socket; no Ray. `benchmarks/faults.py` does it to a
real training.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.lifetime.leftovers import SOCKETS, _socket_folder, is_alive, run_processes, socket_variables
from verl_vsi.lifetime.run_lock import RunBusyError, RunLock

DRIVER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from verl_vsi.config import provenance
from verl_vsi.lifetime.driver import Driver

run = Path(sys.argv[1])
record = run / provenance.FOLDER / f"{provenance.stamp()}.json"
os.environ["VSI_RECORD"] = str(record)
driver = Driver(run, record)
driver.begin()
provenance.write({"end": None, "status": "started"}, record)
log = provenance.log_of(record)
log.parent.mkdir(exist_ok=True)
log.write_text('{"step": 6, "data": {}}\\n{"step": 7, "da')
(run / "latest_checkpointed_iteration.txt").write_text("6")
child = subprocess.Popen([sys.executable, "-c", sys.argv[2], str(run)], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
if sys.argv[3] == "dead":
    driver._on_death("died: the engine")
time.sleep(2 if sys.argv[3] == "end" else 600)
driver.end("completed")
"""
CHILD = """
import os, signal, socket, sys, time
from multiprocessing import resource_tracker, shared_memory
signal.signal(signal.SIGINT, signal.SIG_IGN)
segment = shared_memory.SharedMemory(create=True, size=4096)
resource_tracker.unregister(segment._name, "shared_memory")  # as a process that is killed leaves it
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1] + "/socket")
open(os.environ["VLLM_RPC_BASE_PATH"] + "/a socket that is closed", "w")
print(segment.name, flush=True)
time.sleep(600)
"""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: a socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="vsi-") as folder:
        yield Path(folder)


def drive(run: Path, how: str = "wait", *wrapper: str) -> tuple[subprocess.Popen[str], Path]:
    """A driver, and the shared memory of its child."""
    command = [*wrapper, sys.executable, "-c", DRIVER, str(run), CHILD, how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    segment = Path("/dev/shm") / name
    if not name or not segment.is_file():
        process.kill()
        raise AssertionError((name, process.communicate()))
    return process, segment


def record_of(run: Path) -> dict[str, Any]:
    (file,) = (run / "provenance").glob("*.json")
    return json.loads(file.read_text())


def wait_until_free(run: Path) -> None:
    RunLock(run).acquire(patience=60)


@pytest.mark.parametrize(
    ("how", "number", "status", "code", "words"),
    [
        ("wait", signal.SIGINT, "interrupted", 130, "interrupted after step 6; the same command goes on from step 6"),
        ("wait", signal.SIGTERM, "terminated", 143, "terminated after step 6; the same command goes on from step 6"),
        ("wait", signal.SIGKILL, "died", -9, ""),
        ("dead", None, "failed", 1, "verl-vsi: died: the engine"),
        ("end", None, "completed", 0, ""),
    ],
)
def test_every_end_is_noted_and_leaves_nothing(
    tmp_path: Path, how: str, number: int | None, status: str, code: int, words: str
) -> None:
    process, segment = drive(tmp_path, how)
    if number is not None:
        time.sleep(0.5)
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, words in said, "Traceback" in said) == (code, True, False), said
    wait_until_free(tmp_path)
    record = record_of(tmp_path)
    assert (record["status"], record["step"], record["checkpoint"]) == (status, 6, 6)
    assert record["end"]
    assert not segment.exists()
    assert not (tmp_path / "socket").exists()
    (file,) = (tmp_path / "provenance").glob("*.json")
    assert not [pid for pid in run_processes(file) if is_alive(pid)]
    assert not _socket_folder(file).exists()


def test_a_death_ends_a_run_that_a_script_started_in_the_background_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    process, _ = drive(tmp_path, "dead", "sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, "verl-vsi: died: the engine" in stderr) == (1, True), stderr
    wait_until_free(tmp_path)
    assert record_of(tmp_path)["status"] == "failed"


def test_vllm_has_its_sockets_where_it_is_told() -> None:
    from vllm import envs

    assert SOCKETS in envs.environment_variables


def test_a_folder_for_sockets_that_the_user_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOCKETS, str(tmp_path))
    assert socket_variables(tmp_path / "record.json") == {}


@pytest.mark.parametrize(("length", "fits"), [(57, True), (58, False)])
def test_a_folder_for_sockets_is_short_enough_or_vllms_own_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int, fits: bool
) -> None:
    temporary = Path(str(tmp_path / "a").ljust(length, "a"))
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    variables = socket_variables(tmp_path / "record.json")
    assert bool(variables) == fits
    with socket.socket(socket.AF_UNIX) as server:
        if fits:
            server.bind(f"{variables[SOCKETS]}/{uuid.uuid4()}")


def test_a_second_run_is_refused_until_the_first_has_been_cleared_away(tmp_path: Path) -> None:
    process, segment = drive(tmp_path)
    with pytest.raises(RunBusyError, match=f"process {process.pid}"):
        RunLock(tmp_path).acquire(patience=0)
    process.kill()
    process.wait()
    wait_until_free(tmp_path)
    assert not segment.exists()


def test_where_the_keeper_was_killed_too_the_next_start_clears_away(tmp_path: Path) -> None:
    process, segment = drive(tmp_path)
    keepers = subprocess.run(
        ["pgrep", "-f", f"lifetime.keeper {tmp_path} "], capture_output=True, text=True, check=True
    )
    for pid in (int(keepers.stdout), process.pid):
        subprocess.run(["kill", "-9", str(pid)], check=True)
    process.wait()
    assert segment.exists()
    second, other = drive(tmp_path / ".." / tmp_path.name)
    assert not segment.exists()
    first = sorted((tmp_path / "provenance").glob("*.json"))[0]
    assert json.loads(first.read_text())["status"] == "died"
    second.kill()
    second.wait()
    wait_until_free(tmp_path)
    assert not other.exists()
