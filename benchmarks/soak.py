"""A long run of the miniature, watched: memory, file descriptors, threads, shared memory and disk of every process.

Run: python benchmarks/soak.py [--steps 300] [--folder outputs/soak] [--data ROOT]

Every few seconds each process of the run is looked at. What grows after the warm-up is told by a slope a step for each
process; the record and a picture lie in results/soak.json and soak.png. An interrupted soak goes on (training resumes
from its checkpoint), and the record says how many steps were run, and in how many starts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from verl_vsi.config import provenance
from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.score.result import versions
from verl_vsi.lifetime.leftovers import run_processes

RESULTS = Path(__file__).parent / "results"
INTERVAL, WARM_UP = 5.0, 20
"""Seconds between two looks; steps of a start before slopes count."""
MIB = 1 << 20
IDLE = "ray::IDLE"
"""A worker of Ray's that nobody uses yet."""
MEASURES = {"memory": "MiB (unique set size)", "fds": "file descriptors", "threads": "threads"}
"""Of a process -> unit."""
SHARED = {"shm": "MiB in /dev/shm", "disk": "MiB in the run's folder"}
"""Of a run -> unit."""

Sample = dict[str, Any]
"""One look: start, step, shm, disk, and for each process name its measures."""


def start(folder: Path, data: Path, steps: int) -> subprocess.Popen[bytes]:
    """The miniature's vsGRPO.

    Args:
        folder: its run and log lie there.
        data: root of rooms with rows.
        steps: of the training.
    """
    words = ["+recipe=vsgrpo_miniature", f"vsi.root={data}", f"vsi.data.val={data}/rows/val.parquet"]
    words += [f"trainer.default_local_dir={folder / 'run'}", f"trainer.total_training_steps={steps}"]
    words += ["trainer.total_epochs=1000", "trainer.test_freq=-1", "trainer.val_before_train=false"]
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "verl.trainer.main_ppo", *words, "data.train_batch_size=4"]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def look(run: Path, driver: int, names: dict[int, str]) -> Sample | None:
    """One look at a run; None before its first step.

    Args:
        run: its folder.
        driver: process id.
        names: process id -> name as it was seen first, since Ray's titles change; added to.
    """
    record = max((run / provenance.FOLDER).glob("*.json"), default=None)
    step = provenance.last_step(record) if record else None
    if record is None or step is None:
        return None
    processes: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(MEASURES, 0.0))
    for pid in [driver, *run_processes(record)]:
        try:
            process = psutil.Process(pid)
            name, values = name_of(process), measure(process)
        except (psutil.Error, OSError):
            continue
        if names.setdefault(pid, name) == IDLE:
            names[pid] = name
        name = names[pid]
        for measured, value in values.items():
            processes[name][measured] += value
    shm = sum(file.stat().st_size for file in Path("/dev/shm").glob("*") if file.is_file()) / MIB
    disk = sum(file.stat().st_size for file in run.rglob("*") if file.is_file()) / MIB
    return {"start": record.stem, "step": step, "shm": shm, "disk": disk, "processes": dict(processes)}


def name_of(process: psutil.Process) -> str:
    """Ray's and vLLM's own titles; else the program, or the module that Python runs."""
    words = process.cmdline()
    title = words[0] if words else process.name()
    if title.startswith(("ray::", "VLLM::")):
        return re.sub(r"\..*", "", title)
    modules = [word for word in words[1:] if word.startswith(("verl", "/")) and not word.endswith(".json")]
    return Path(modules[0]).stem if "python" in Path(title).name and modules else Path(title).name


def measure(process: psutil.Process) -> dict[str, float]:
    """See `MEASURES`."""
    unique = process.memory_full_info().uss / MIB
    return {"memory": unique, "fds": process.num_fds(), "threads": process.num_threads()}


def longest_start(samples: list[Sample]) -> list[Sample]:
    """The samples of the start with most steps, without those of its end."""
    starts: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        starts[sample["start"]].append(sample)
    longest = max(starts.values(), key=lambda some: some[-1]["step"] - some[0]["step"])
    return [sample for sample in longest if sample["step"] < longest[-1]["step"]]


def slopes(samples: list[Sample], first: int) -> dict[str, dict[str, float]]:
    """Process -> measure -> growth a step from a step on, by least squares.

    Args:
        samples: of one start.
        first: step.
    """
    warm = [s for s in samples if s["step"] >= first]
    if len({s["step"] for s in warm}) < 5:
        return {}
    names = set.intersection(*(set(s["processes"]) for s in warm))
    steps = [s["step"] for s in warm]
    found = {
        name: {m: round(float(np.polyfit(steps, [s["processes"][name][m] for s in warm], 1)[0]), 4) for m in MEASURES}
        for name in sorted(names)
    }
    return found | {"run": {m: round(float(np.polyfit(steps, [s[m] for s in warm], 1)[0]), 4) for m in SHARED}}


def draw(samples: list[Sample], path: Path) -> None:
    """Every measure against the samples' order, a line a process."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(MEASURES) + 1, 1, figsize=(9, 12), sharex=True)
    names = sorted({name for sample in samples for name in sample["processes"]})
    order = range(len(samples))
    for axis, (measured, unit) in zip(axes, MEASURES.items(), strict=False):
        for name in names:
            axis.plot(order, [s["processes"].get(name, {}).get(measured, np.nan) for s in samples], label=name, lw=1)
        axis.set_ylabel(unit)
    for measured, unit in SHARED.items():
        axes[-1].plot(order, [s[measured] for s in samples], label=unit)
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=6, ncol=6, loc="upper center", bbox_to_anchor=(0.5, 0.97)
    )
    axes[-1].legend(fontsize=6)
    ticks = sorted({round(i) for i in np.linspace(0, len(samples) - 1, 9)})
    axes[-1].set_xticks(ticks, [str(samples[i]["step"]) for i in ticks])
    axes[-1].set_xlabel("step")
    figure.suptitle(f"soak of the miniature's vsGRPO, {samples[-1]['step']} steps")
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(path, dpi=120)


def watch(folder: Path, data: Path, steps: int) -> Iterator[Sample]:
    """Start (or go on), and look until it ends.

    Args:
        folder: see `start`.
        data: see `start`.
        steps: of the training.
    """
    process, names = start(folder, data, steps), dict[int, str]()
    try:
        while process.poll() is None:
            time.sleep(INTERVAL)
            if (sample := look(folder / "run", process.pid, names)) is not None:
                yield sample
    finally:
        process.terminate()
        print(f"the training ended with status {process.wait()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("outputs/soak"))
    parser.add_argument("--data", type=Path, help="a root with rooms and rows; made by default")
    parser.add_argument("--minutes", type=float, default=600, help="stop (and record) after so many")
    settings = parser.parse_args()
    folder = settings.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    data = settings.data.absolute() if settings.data else make_rooms(folder)
    end, log = time.monotonic() + 60 * settings.minutes, folder / "samples.jsonl"
    with log.open("a", encoding="utf-8") as lines:
        for sample in watch(folder, data, settings.steps):
            lines.write(json.dumps(sample) + "\n")
            lines.flush()
            if time.monotonic() > end:
                break
    samples = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    longest = longest_start(samples)
    middle = (longest[0]["step"] + longest[-1]["step"]) // 2
    record = {
        "what": "growth a step after the warm-up, and in the second half, of the longest start",
        "steps": samples[-1]["step"],
        "starts": len({sample["start"] for sample in samples}),
        "warm-up steps": WARM_UP,
        "units": {**MEASURES, **SHARED},
        "slopes": slopes(longest, longest[0]["step"] + WARM_UP),
        f"slopes from step {middle}": slopes(longest, middle),
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "versions": versions(),
    }
    write_text(RESULTS / "soak.json", json.dumps(record, indent=1) + "\n")
    draw(samples, RESULTS / "soak.png")
    print(json.dumps(record["slopes"], indent=1))


def make_rooms(folder: Path) -> Path:
    """A few rooms with rows and frames; returns their root."""
    from rich.console import Console

    from verl_vsi.miniature.demo import Demo, data_stages
    from verl_vsi.miniature.pipeline import run_stages

    demo = Demo(folder / "rooms", train_rooms=64, heldout_rooms=16)
    run_stages(data_stages(demo), demo.folder, Console())
    return demo.root


if __name__ == "__main__":
    main()
