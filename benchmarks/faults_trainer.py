"""One training, killed again and again and given again each time, beside an undisturbed one: the same step series.

What is killed in turn: vLLM's engine, TransferQueue's storage, the driver (SIGKILL), a training worker, the driver
while it writes a checkpoint, then the driver by SIGINT and SIGTERM. A second training in the same folder is tried while
the first runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verl_vsi.config import provenance
from verl_vsi.lifetime.leftovers import Leftovers, run_processes
from verl_vsi.lifetime.run_lock import FILE, RunLock

LIMIT = 900.0
"""Seconds that a start may take until it has made a step."""
ENDED = 120.0
"""Seconds in which a run that lost a process has to end by itself."""
WAYS: tuple[tuple[str, str, int], ...] = (
    ("vLLM's engine", "VLLM::", signal.SIGKILL),
    ("TransferQueue's storage", "SimpleStorageUnit", signal.SIGKILL),
    ("driver", "main_ppo", signal.SIGKILL),
    ("training worker", "WorkerDict", signal.SIGKILL),
    ("driver, at a checkpoint", "main_ppo", signal.SIGKILL),
    ("driver, SIGINT", "main_ppo", signal.SIGINT),
    ("driver, SIGTERM", "main_ppo", signal.SIGTERM),
)
"""Name, what its command line holds, signal."""
OF_THE_CLOCK = ("timing", "perf/", "actor/perf/")
"""Metrics that measure time and memory."""


class TrainerFaults:
    """The kills of one training.

    Args:
        folder: of all runs.
        data: root of the miniature's rooms and rows.
        steps: of the training.
    """

    def __init__(self, folder: Path, data: Path, steps: int) -> None:
        self.folder, self.data, self.steps = folder, data, steps
        # a Ray of another's on this machine neither disturbs nor is disturbed; short, because sockets lie in it
        self.temporary = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}"
        self.temporary.mkdir()
        self.environment = {**os.environ, "RAY_TMPDIR": str(self.temporary), "VERL_PLATFORM": "cpu"}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """A start of the run of this name."""
        run = self.folder / name
        run.mkdir(parents=True, exist_ok=True)
        words = ["+recipe=vsgrpo_miniature", f"vsi.root={self.data}", f"vsi.data.val={self.data}/rows/val.parquet"]
        words += [
            f"trainer.default_local_dir={run}",
            f"trainer.total_training_steps={self.steps}",
            "trainer.save_freq=1",
        ]
        words += ["trainer.test_freq=-1", "trainer.val_before_train=false", "data.train_batch_size=4"]
        with (run / "log").open("ab") as log:
            command = [sys.executable, "-m", "verl.trainer.main_ppo", *words]
            return subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def run(self, kills: int, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Kill, give again, compare.

        Args:
            kills: how many.
            save: called with the record after each.
        """
        path = self.folder / "kills.json"
        record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"kills": []}
        while len(record["kills"]) < kills:
            record["kills"].append(self.kill(*WAYS[len(record["kills"]) % len(WAYS)]))
            self.folder.mkdir(exist_ok=True)
            path.write_text(json.dumps(record))
            save(record)
        for name in ("undisturbed", "killed"):
            if len(series(self.folder / name)) < self.steps:
                record[f"{name}: last status"] = self.start(name).wait(2 * LIMIT)
                RunLock(self.folder / name).acquire(patience=120)
        return record | compare(series(self.folder / "undisturbed"), series(self.folder / "killed"))

    def kill(self, name: str, pattern: str, number: int) -> dict[str, Any]:
        """One start, ended once it has made a step.

        Args:
            name: of the way.
            pattern: in the command line of what is killed.
            number: of the signal.
        """
        run = self.folder / "killed"
        before = len(series(run))
        process = self.start("killed")
        entry: dict[str, Any] = {"what": name}
        if (
            not wait_for(lambda: len(series(run)) > before or process.poll() is not None, LIMIT)
            or process.poll() is not None
        ):
            process.kill()
            return {**entry, "fault": f"no step in {LIMIT:g} s, or an end: status {process.poll()}"}
        record = max((run / provenance.FOLDER).glob("*.json"))
        if "checkpoint" in name:
            saving = run / f"global_step_{before + 3}"
            wait_for(lambda: saving.exists() or process.poll() is not None, 60, 0.001)
        if name == "driver":
            entry["a second training"] = self._second()
        leftovers = Leftovers()
        pids = leftovers.look(record)
        victim = process.pid if pattern == "main_ppo" else next(pid for pid in pids if pattern in command_line(pid))
        start = time.monotonic()
        os.kill(victim, number)
        wait_for(lambda: process.poll() is not None, ENDED)
        entry |= {"status": process.poll(), "ended after s": round(time.monotonic() - start, 1)}
        if process.poll() is None:
            entry["fault"] = f"still running {ENDED:g} s later"
            process.kill()
        free = wait_for(lambda: _is_free(run), 120)
        left = [
            *run_processes(record),
            *(str(p) for p in leftovers.shared_memory | leftovers.sockets | leftovers.ray_sessions if p.exists()),
        ]
        after = provenance.read(record)
        return {
            **entry,
            "folder free": free,
            "left": left,
            "provenance": [after[key] for key in ("status", "step", "checkpoint")],
        }

    def _second(self) -> str:
        second = self.start("killed")
        second.wait(300)
        return "refused" if second.returncode == 1 else f"status {second.returncode}"


def compare(undisturbed: dict[int, dict[str, float]], killed: dict[int, dict[str, float]]) -> dict[str, Any]:
    """How many steps of both are equal, and which metrics are not."""
    both = sorted(undisturbed.keys() & killed.keys())
    different = {key for step in both for key in undisturbed[step] if undisturbed[step][key] != killed[step].get(key)}
    equal = sum(undisturbed[step] == killed[step] for step in both)
    return {"steps compared": len(both), "steps equal": equal, "metrics that differ": sorted(different)}


def series(run: Path) -> dict[int, dict[str, float]]:
    """Step -> metrics that the clock has no part in; of the last start that logged it."""
    steps: dict[int, dict[str, float]] = {}
    for file in sorted((run / provenance.METRICS).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            steps[entry["step"]] = {k: v for k, v in entry["data"].items() if not k.startswith(OF_THE_CLOCK)}
    return steps


def command_line(pid: int) -> str:
    """Of a process; empty where it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def wait_for(condition: Callable[[], bool], seconds: float, interval: float = 0.1) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(interval)
    return met


def _is_free(run: Path) -> bool:
    with (run / FILE).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
