"""Only what a run's own processes have open is found, and removed once they are gone: with a real Ray."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from verl_vsi.lifetime.leftovers import Leftovers, end_processes, is_alive, run_processes

pytest.importorskip("ray")

CLUSTER = """
import time
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_killed_drivers_ray_is_ended_and_its_logs_are_kept(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    with tempfile.TemporaryDirectory() as short:  # sockets lie in it, whose paths may have 107 characters
        environment = {**os.environ, "VSI_RECORD": str(record), "RAY_TMPDIR": short}
        environment.pop("VSI_RUN", None)
        driver = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        leftovers = Leftovers()
        pids = leftovers.look(record)
        assert driver.pid in pids
        assert len(pids) > 3, "Ray's daemons inherit the mark"
        (session,) = leftovers.ray_sessions
        assert session.parent == Path(short, "ray")
        assert any("/sockets/" in str(file) for file in leftovers.sockets)
        driver.kill()
        driver.wait()
        end_processes(record, patience=20)
        leftovers.remove(tmp_path / "logs", time.time())
        assert not run_processes(record)
        assert not session.exists()
        assert not any(file.exists() for file in leftovers.sockets)
        assert list((tmp_path / "logs").glob("gcs_server*"))


def test_processes_that_do_not_end_are_forced(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    environment = {**os.environ, "VSI_RECORD": str(record)}
    process = subprocess.Popen([sys.executable, "-c", stubborn], env=environment)
    assert end_processes(record, patience=1.0) == [process.pid]
    assert not is_alive(process.pid)
    process.wait()


def test_what_another_process_has_is_left_alone(tmp_path: Path) -> None:
    """This process has no mark: its socket is nobody's leftover."""
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind(str(tmp_path / "mine"))
        leftovers = Leftovers()
        assert leftovers.look(tmp_path / "record.json") == []
        leftovers.remove(None, time.time())
        assert (tmp_path / "mine").exists()
