"""One training, killed again and again and given again each time, beside an undisturbed one: the same step series.

What is killed in turn, at a random moment of a step: vLLM's engine, TransferQueue's storage, the driver, a training
worker, and the driver while it writes a checkpoint, all by SIGKILL; after every third round the driver by SIGINT and by
SIGTERM. A second training in the same folder is tried once. Everything a run puts into the folder for temporary files
is looked at after it. A third training has a disk that is too small for its checkpoints (a tmpfs; that needs root).
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults_series import compare, series, summary

from verl_vsi.config import provenance
from verl_vsi.lifetime.leftovers import Leftovers, run_processes
from verl_vsi.lifetime.run_lock import FILE

LIMIT = 900.0
"""Seconds that a start may take until it has made a step."""
ENDED = 120.0
"""Seconds in which a run that lost a process has to end by itself."""
STEP = 2.0
"""Seconds of a step, about: a kill falls somewhere in it."""
SMALL_DISK = "30m"
"""Less than three checkpoints, and two are kept while a third is written."""


@dataclass(frozen=True)
class Way:
    """A way to end a run.

    Args:
        name: of what is killed.
        pattern: in its command line.
        number: of the signal.
        status: that the driver must exit with.
        word: that provenance must say.
    """

    name: str
    pattern: str
    number: int
    status: int
    word: str


KILLS = (
    Way("vLLM's engine", "VLLM::", signal.SIGKILL, 1, "failed"),
    Way("TransferQueue's storage", "SimpleStorageUnit", signal.SIGKILL, 1, "failed"),
    Way("driver", "main_ppo", signal.SIGKILL, -signal.SIGKILL, "died"),
    Way("training worker", "WorkerDict", signal.SIGKILL, 1, "failed"),
    Way("driver, at a checkpoint", "main_ppo", signal.SIGKILL, -signal.SIGKILL, "died"),
)
SIGNALS = (
    Way("driver, SIGINT", "main_ppo", signal.SIGINT, 130, "interrupted"),
    Way("driver, SIGTERM", "main_ppo", signal.SIGTERM, 143, "terminated"),
)
ORDER = (*KILLS, *SIGNALS, *KILLS, *KILLS)


class TrainerFaults:
    """The kills of one training.

    Args:
        folder: of all runs.
        data: root of the miniature's rooms and rows.
        steps: of the training; more than the kills let it make.
    """

    def __init__(self, folder: Path, data: Path, steps: int) -> None:
        self.folder, self.data, self.steps = folder, data, steps
        # a Ray of another's on this machine neither disturbs nor is disturbed; short, because sockets lie in it
        self.temporary = Path(tempfile.mkdtemp(prefix="faults"))
        own = {"RAY_TMPDIR": str(self.temporary), "TMPDIR": str(self.temporary), "VERL_PLATFORM": "cpu"}
        self.environment = {**os.environ, **own}
        self.dice = random.Random(os.getpid())

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        """A start of the run of this name, with further overrides."""
        run = self.folder / name
        run.mkdir(parents=True, exist_ok=True)
        words = ["+recipe=vsgrpo_miniature", f"vsi.root={self.data}", f"vsi.data.val={self.data}/rows/val.parquet"]
        words += [f"trainer.default_local_dir={run}", f"trainer.total_training_steps={self.steps}"]
        words += ["trainer.save_freq=1", "trainer.test_freq=-1", "trainer.val_before_train=false"]
        words += ["trainer.total_epochs=1000", "data.train_batch_size=4", *more]
        with (self.folder / f"{name}.log").open("ab") as log:
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
        entries: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        while len(entries) < kills:
            entries.append(self.kill(ORDER[len(entries) % len(ORDER)], second=len(entries) == 2))
            path.write_text(json.dumps(entries, indent=1))
            print(json.dumps(entries[-1]), flush=True)
            save(summary(entries))
        killed = series(self.folder / "killed")
        undisturbed = self._undisturbed(len(killed))
        record = summary(entries) | compare(undisturbed, killed)
        save(record)
        return record | {"full disk": self.full_disk(undisturbed)}

    def _undisturbed(self, steps: int) -> dict[int, dict[str, float]]:
        """Metrics of a run that nothing happened to, until it had made so many steps."""
        run = self.folder / "undisturbed"
        if len(series(run)) < steps:
            process = self.start("undisturbed")
            wait_for(lambda: len(series(run)) >= steps or process.poll() is not None, LIMIT + 10 * STEP * steps)
            process.send_signal(signal.SIGTERM)
            process.wait(ENDED)
            wait_for(lambda: _is_free(run), ENDED)
        return series(run)

    def kill(self, way: Way, second: bool = False) -> dict[str, Any]:
        """One start, ended once it has made a step.

        Args:
            way: to end it.
            second: whether a second training in the folder is tried before.
        """
        run = self.folder / "killed"
        before, process = len(series(run)), self.start("killed")
        wait_for(lambda: len(series(run)) > before or process.poll() is not None, LIMIT)
        if process.poll() is not None or len(series(run)) == before:
            process.kill()
            return {"what": way.name, "faults": [f"no step in {LIMIT:g} s, or an end: status {process.poll()}"]}
        entry: dict[str, Any] = {"what": way.name} | ({"a second training": self._second()} if second else {})
        record = max((run / provenance.FOLDER).glob("*.json"))
        self._wait_for_the_moment(way, run, process)
        leftovers = Leftovers()
        pids = leftovers.look(record)
        victim = process.pid if way.pattern == "main_ppo" else _find(pids, way.pattern)
        begin = time.monotonic()
        os.kill(victim, way.number)
        wait_for(lambda: process.poll() is not None, ENDED)
        entry |= {"step": provenance.last_step(record), "ended after s": round(time.monotonic() - begin, 1)}
        faults = [] if process.poll() == way.status else [f"status {process.poll()}"]
        if process.poll() is None:
            process.kill()
        faults += [] if wait_for(lambda: _is_free(run), ENDED) else [f"the folder is still taken {ENDED:g} s later"]
        faults += [f"left: process {pid} {command_line(pid)[:80]}" for pid in run_processes(record)]
        faults += [f"left: {path}" for path in self._left(leftovers)]
        word = provenance.read(record)["status"]
        return {**entry, "faults": faults + ([] if word == way.word else [f"provenance says {word}"])}

    def full_disk(self, undisturbed: dict[int, dict[str, float]]) -> dict[str, Any]:
        """A training on a disk that fills up, and the same command after there is room.

        Args:
            undisturbed: metrics of the undisturbed run.
        """
        run, log = self.folder / "full", self.folder / "full.log"
        run.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", str(run)]).returncode:
            return {"not run": "no tmpfs can be mounted here: that needs root"}
        try:
            status = self.start("full", "trainer.total_training_steps=5").wait(LIMIT)
            words = log.read_text(errors="replace")
            named = "MiB free of" in words and str(run) in words
            wait_for(lambda: _is_free(run), ENDED)
            subprocess.run(["mount", "-o", "remount,size=1g", str(run)], check=True)
            again = self.start("full", "trainer.total_training_steps=5").wait(LIMIT)
            wait_for(lambda: _is_free(run), ENDED)
            outcome = {"status": status, "path and space named": named, "given again": again}
            return outcome | compare(undisturbed, series(run))
        finally:
            subprocess.run(["umount", "--lazy", str(run)])

    def _wait_for_the_moment(self, way: Way, run: Path, process: subprocess.Popen[bytes]) -> None:
        if "checkpoint" not in way.name:
            time.sleep(self.dice.uniform(0, STEP))
            return
        saved = {path.name for path in run.glob("global_step_*")}
        new = lambda: any(path.name not in saved for path in run.glob("global_step_*"))  # noqa: E731
        wait_for(lambda: new() or process.poll() is not None, 60, 0.001)
        time.sleep(self.dice.uniform(0, 0.2))

    def _left(self, leftovers: Leftovers) -> Sequence[Path]:
        """Files in the folder for temporary files, and shared memory."""
        files = [path for path in self.temporary.rglob("*") if not path.is_dir()]
        return [*files, *(path for path in leftovers.shared_memory if path.exists())]

    def _second(self) -> str:
        second = self.start("killed")
        second.wait(300)
        return "refused" if second.returncode == 1 else f"status {second.returncode}"


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


def _find(pids: Sequence[int], pattern: str) -> int:
    return next(pid for pid in pids if pattern in command_line(pid))


def _is_free(run: Path) -> bool:
    with (run / FILE).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
