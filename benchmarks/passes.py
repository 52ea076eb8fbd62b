"""How much training passes cost with and without sharing, from one run.

    python benchmarks/passes.py                                    # CPU, a small model of Qwen2-VL-2B's proportions
    python benchmarks/passes.py --model qwen3_vl                   # of Qwen3-VL-2B's; qwen2_5_vl: Qwen2.5-VL-3B's
    python benchmarks/passes.py --engine megatron --n 14           # verl's Megatron engine (`make megatron`)
    python benchmarks/passes.py --shape tiny --n 2 --answers 3     # that the script runs, in seconds

One micro-batch of n rollouts on one video (1,024 video tokens, 200 text tokens): verl's own engine, ours, and ours with
the vision tower frozen, in CPU seconds of one thread. Results go to benchmarks/results/ as they come; the same command
goes on with an interrupted run. On a GPU: `python benchmarks/gpu`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from benchmark_results import RESULTS, resume, versions, write_result
from passes_costs import GRID, KINDS, SHAPES, TEXT, VIDEO_TOKENS, floor, tokens
from passes_setup import make_engine, run_pass, save_model
from passes_show import draw, show
from rich.progress import track
from stored_videos import stored_batch

from verl_vsi import run_mark

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.engine_batches import SampleQuestion, ppo_loss
from vsi_support.random_models import FAMILIES

RATE = "matrix_flops_per_second"
MEGATRON = {"fsdp2": (), "megatron": ("megatron-core", "megatron-bridge")}
PASSES = ("forward", "update")
"""`forward`: old and reference log-probabilities. `update`: forward and backward."""

Case = tuple[int, int, str]
"""Answer length, number of rollouts, engine."""


def main() -> None:
    """Measure, print, record, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=tuple(MEGATRON), default="fsdp2")
    parser.add_argument("--model", choices=tuple(SHAPES), default="qwen2_vl")
    parser.add_argument("--shape", default="small", help="; ".join(f"{m}: {', '.join(s)}" for m, s in SHAPES.items()))
    parser.add_argument("--n", type=int, nargs="+", default=[2, 7, 14, 28], help="rollouts of a question")
    parser.add_argument("--answers", type=int, nargs="+", default=[10, 100, 300], help="tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the shared passes; the median counts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    if options.shape not in SHAPES[options.model]:
        parser.error(f"--shape {options.shape}: {options.model} has {', '.join(SHAPES[options.model])}")
    start_process_group()
    engine = "" if options.engine == "fsdp2" else f"{options.engine}_"
    model = "" if options.model == "qwen2_vl" else f"{options.model}_"
    path = options.out / f"passes_cpu_{engine}{model}{options.shape}.json"
    now = about(options)
    record = resume(path, now, changing=(RATE,)) or {"about": now, "rows": []}
    record["rows"] = complete(record["rows"])
    for row in measure_all(options, record["rows"]):
        record["rows"].append(row)
        write_result(path, record)
    show(record)
    if len({row["n"] for row in record["rows"]}) > 1:  # the picture shows how costs grow with n
        draw(record, path.with_suffix(".png"))


def start_process_group() -> None:
    """A process group of one, of one thread."""
    os.environ["VERL_PLATFORM"] = "cpu"
    torch.set_num_threads(1)
    run_mark.mark("benchmarks")
    import verl  # noqa: F401  (loads our plug-in, which registers our engine in a run of ours)

    dist.init_process_group("cpu:gloo", init_method="tcp://127.0.0.1:29533", rank=0, world_size=1)


def about(options: argparse.Namespace) -> dict[str, Any]:
    """What was measured, on what, with what."""
    return {
        "what": "one micro-batch of n rollouts on one video: seconds, peak bytes above the start, FLOPs, text tokens",
        "device": platform.processor() or platform.machine(),
        "engine": options.engine,
        "model": options.model,
        "shape": options.shape,
        "dtype": "float32",
        "video_tokens": VIDEO_TOKENS,
        "text_tokens": TEXT,
        RATE: matrix_rate(),
        "versions": versions(("verl-vsi", "verl", "torch", "transformers", *MEGATRON[options.engine])),
        "date": time.strftime("%Y-%m-%d"),
    }


def matrix_rate() -> float:
    """Floating-point operations a second of a large matrix product: what the core really does."""
    side = 2048
    a = torch.randn(side, side)
    seconds = min(clock(lambda: a @ a)[0] for _ in range(3))
    return 2 * side**3 / seconds


def complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the cases of which all passes are there."""
    whole = {case_of(row) for row in rows if row["pass"] == PASSES[-1]}
    return [row for row in rows if case_of(row) in whole]


def case_of(row: dict[str, Any]) -> Case:
    return row["answer"], row["n"], row["kind"]


def measure_all(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each answer length, number of rollouts, engine and pass.

    Args:
        options: of the command line.
        rows: that are there already; their cases are left out.
    """
    shape, family = SHAPES[options.model][options.shape], FAMILIES[options.model]
    folder = save_model(options.model, shape, torch.float32)
    engine_of = cache(partial(make_engine, family=family, folder=folder, backend=options.engine))
    before = set(map(case_of, rows))
    # the engines take turns, so that all meet the same load
    cases = [(length, n, kind) for length in options.answers for n in options.n for kind in KINDS]
    for length, n, kind in track([case for case in cases if case not in before], description="passes"):
        question = SampleQuestion([length] * n, text=TEXT, grids=(GRID,))
        batch = stored_batch([question], folder, family, named=kind != "stock")
        prompt = int(batch["prompts"].offsets()[1])
        for name in PASSES:
            repeats = 1 if kind == "stock" else options.repeats
            case = {"kind": kind, "pass": name, "n": n, "answer": length}
            costs: dict[str, float] = measure(engine_of(kind), batch, name, repeats, warm=kind == "frozen")
            costs |= {"floor": floor(shape, kind, name, prompt, n, length), "tokens": tokens(kind, prompt, n, length)}
            yield {**case, **costs}


def measure(engine: Any, batch: Any, name: str, repeats: int, *, warm: bool) -> dict[str, float]:
    """Median seconds and the peak of memory.

    Args:
        engine: verl's or ours.
        batch: one micro-batch.
        name: of the pass, one of `PASSES`.
        repeats: runs that are timed.
        warm: run once before, so that the feature cache is filled.
    """
    loss_function = ppo_loss()

    def run() -> None:
        run_pass(engine, batch, None if name == "forward" else loss_function)

    if warm:
        run()
    runs = sorted(clock(run) for _ in range(repeats))
    return {"seconds": runs[len(runs) // 2][0], "peak_bytes": exact_peak(run)}


MMAP_THRESHOLD, SMALL, LARGE = -3, 2**16, 2**25
"""glibc's M_MMAP_THRESHOLD; LARGE is where it arrives by itself."""


def exact_peak(run: Callable[[], Any]) -> int:
    """Bytes at the peak of a run whose tensors go back to the system as soon as they are gone.

    As it comes, glibc keeps pages of freed tensors, and a peak can read half as much again.
    """
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(MMAP_THRESHOLD, SMALL)
    try:
        return clock(run)[1]
    finally:
        libc.mallopt(MMAP_THRESHOLD, LARGE)


def clock(run: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of CPU time, and bytes at the peak above those at the start."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed must not count as there
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    start = time.process_time()
    run()
    return time.process_time() - start, resident("VmHWM") - before


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
