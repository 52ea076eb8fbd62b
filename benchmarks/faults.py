"""Kills, on purpose: every command is killed at random moments, and must end as an undisturbed one when given again.

Run: python benchmarks/faults.py [--kills 20] [--only "data build" ...] [--trainer-kills 5] [--server-kills 1]

For each command: an undisturbed run; then as many runs as `--kills` says, in fresh folders, each ended at a random
moment (in turn SIGKILL of the command, SIGKILL of one of its workers, SIGTERM, SIGINT) and given again until it ends
well. Looked at: the results (equal to the undisturbed run's), exit statuses (130, 143), and what is left (processes,
shared memory, temporary files). Beside that: a full disk (a limit on the size of a file, RLIMIT_FSIZE, which raises
EFBIG where a full disk raises ENOSPC: it needs no mount and no other user). A training (`faults_trainer`) is one run
that is killed in turn by seven ways, its second start at once among them. The record says how many kills were made.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from faults_commands import Case, cases, prepare, serve_endpoint, server_case
from faults_trainer import TrainerFaults

from verl_vsi.config.checkpoints import RECORD_VARIABLE
from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.score.result import versions
from verl_vsi.lifetime.leftovers import Leftovers, run_processes

RESULTS = Path(__file__).parent / "results" / "faults.json"
SMALL_FILE = 16 << 10
"""Bytes that a file may have where the disk is full."""
WAYS = ("SIGKILL", "SIGKILL of a worker", "SIGTERM", "SIGINT")
STATUS = {"SIGTERM": 143, "SIGINT": 130}


@dataclass
class Outcome:
    """Of one command's kills.

    Attributes:
        kills: how many were made, by way; one that came after the end does not count.
        faults: what went wrong, in words.
    """

    kills: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Killing:
    """One command in a folder of its own, with temporary files of its own.

    Args:
        case: the command.
        folder: made anew.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.temporary = Path(tempfile.mkdtemp(prefix="faults"))  # short: sockets lie in it
        self.mark = folder / "mark"
        self.environment = {**os.environ, RECORD_VARIABLE: str(self.mark), "TMPDIR": str(self.temporary)}
        self.leftovers = Leftovers()

    def start(self, limit: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        """The command; its output goes to `log`."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.case.command(self.folder / "out"),
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                preexec_fn=limit,
                start_new_session=True,
            )

    def finish(self) -> int:
        """Give the command (again), to the end."""
        return self.start().wait(900)

    def kill(self, way: str, after: float) -> int | None:
        """End it after some seconds; its status, or None where it had ended before."""
        process = self.start()
        try:
            process.wait(after)
            return None
        except subprocess.TimeoutExpired:
            self.leftovers.look(self.mark)
        if way == "SIGKILL of a worker":
            workers = [
                p
                for p in psutil.Process(process.pid).children(recursive=True)
                if "resource_tracker" not in " ".join(p.cmdline())
            ]
            victim = random.choice(workers).pid if workers else process.pid
            os.kill(victim, signal.SIGKILL)
        else:
            process.send_signal(getattr(signal, way))
        return process.wait(120)

    def left(self) -> list[str]:
        """What is still there of the command, some seconds after its end."""
        end = time.monotonic() + 30
        while (pids := run_processes(self.mark)) and time.monotonic() < end:
            time.sleep(0.2)
        temporary = [file for file in self.temporary.rglob("*") if not file.is_dir()]
        shutil.rmtree(self.temporary)
        litter = [file for file in self.folder.rglob(".*.*") if file.is_file() and not file.name.endswith(".lock")]
        shared = [file for file in self.leftovers.shared_memory | self.leftovers.sockets if file.exists()]
        return [f"process {pid}" for pid in pids] + [str(path) for path in [*temporary, *litter, *shared]]


def kill_often(case: Case, folder: Path, kills: int, note: Callable[[Outcome], None], seed: int = 0) -> Outcome:
    """An undisturbed run, then the kills.

    Args:
        case: the command.
        folder: for all of it.
        kills: how many.
        note: called after each.
        seed: of the moments.
    """
    undisturbed, dice, outcome = Killing(case, folder / "undisturbed"), random.Random(seed), Outcome()
    start = time.monotonic()
    status = undisturbed.finish()
    seconds, expected = time.monotonic() - start, case.digest(undisturbed.folder / "out")
    if status or not expected:
        return Outcome(faults=[f"undisturbed: status {status}, {len(expected)} files; see {undisturbed.folder}/log"])
    outcome.faults += [f"undisturbed: left: {name}" for name in undisturbed.left()]
    for number in range(4 * kills):
        if sum(outcome.kills.values()) == kills:
            break
        way = WAYS[number % len(WAYS)]
        killing = Killing(case, folder / "killed")
        status = killing.kill(way, dice.uniform(0.15, 0.95) * seconds)
        if status is None:
            continue
        outcome.kills[way] = outcome.kills.get(way, 0) + 1
        shown = status if status >= 0 else 128 - status  # as a shell shows it; 0: it was ready first
        faults = [] if shown in (0, STATUS.get(way, shown)) else [f"status {status}"]
        if again := killing.finish():
            faults.append(f"given again: status {again}")
        if case.digest(killing.folder / "out") != expected:
            faults.append("other results")
        faults += [f"left: {name}" for name in killing.left()]
        outcome.faults += [f"{way}: {fault}" for fault in faults]
        print(
            f"{case.name}: kill {sum(outcome.kills.values())} of {kills}, {way}: {faults or 'as undisturbed'}",
            flush=True,
        )
        note(outcome)
        if faults:
            shutil.copy(killing.folder / "log", folder / f"fault_{number}.log")
    return outcome


def full_disk(case: Case, folder: Path) -> dict[str, Any]:
    """Whether a full disk is named, and whether the same command goes on once there is room."""
    killing = Killing(case, folder / "full")
    status = killing.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, SMALL_FILE))).wait(900)
    said = (killing.folder / "log").read_text(errors="replace")
    named = "MiB free of" in said and "Traceback" not in said
    if status == 0:
        return {"needed no file of this size": True}
    return {"status": status, "path and space named": named, "given again": killing.finish(), "left": killing.left()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--server-kills", type=int, default=1, help="a minute or two each")
    parser.add_argument("--trainer-kills", type=int, default=5, help="two minutes or more each")
    parser.add_argument("--trainer-steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--folder", type=Path, default=Path("outputs/faults"))
    settings = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a script's background ignores it otherwise
    folder = settings.folder.absolute()
    if not (folder / "shared" / "miniature" / "phases.json").exists():
        prepare(folder / "shared")
    with serve_endpoint() as endpoint:
        every = {case.name: case for case in [*cases(folder / "shared", endpoint), server_case(folder / "shared")]}
        chosen = settings.only or [*every, "trainer"]
        if unknown := set(chosen) - {*every, "trainer"}:
            parser.error(f"--only: {sorted(unknown)}; there are {[*every, 'trainer']}")
        for case in (every[name] for name in chosen if name in every):
            kills = settings.server_kills if case.name == "evaluation server" else settings.kills
            own, name = folder / case.name.replace(" ", "_"), case.name
            outcome = kill_often(case, own, kills, lambda so_far, name=name: save(name, vars(so_far)))
            disk = {} if name == "evaluation server" else {"full disk": full_disk(case, own)}
            save(name, {**vars(outcome), **disk})
    if "trainer" in chosen:
        faults = TrainerFaults(folder / "trainer", folder / "shared" / "miniature" / "data", settings.trainer_steps)
        save("trainer", faults.run(settings.trainer_kills, lambda entry: save("trainer", entry)))


def save(name: str, entry: dict[str, Any]) -> None:
    """Write one command's entry of the record; those of others stay."""
    record: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    record |= {name: entry, "versions": versions(), "machine": machine}
    write_text(RESULTS, json.dumps(record, indent=1) + "\n")
    print(f"{name}: {json.dumps(entry)}", flush=True)


if __name__ == "__main__":
    main()
