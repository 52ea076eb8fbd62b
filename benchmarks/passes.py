"""How much training passes cost with and without sharing, from one run.

    python benchmarks/passes.py                                    # CPU, a small model of Qwen2-VL-2B's proportions
    python benchmarks/passes.py --device cuda --shape 2b           # a GPU, bfloat16, random weights; 7b too
    python benchmarks/passes.py --shape tiny --n 2 --answers 3     # that the script runs, in seconds

One micro-batch of n rollouts on one video (1,024 video tokens, 200 text tokens): verl's own engine, ours, and ours with
the vision tower frozen. On a CPU, CPU seconds of one thread; on a GPU, seconds. Results go to benchmarks/results/ as
they come; the same command goes on with an interrupted run.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

RESULTS = Path(__file__).parent / "results"
GRID = (8, 16, 32)
"""Patches of the video: 8 times 2 frames of 224x448 pixels, 1,024 tokens."""
TEXT = 200
KINDS = ("stock", "shared", "frozen")
RATE = "matrix_flops_per_second"
PASSES = ("forward", "update")
"""`forward`: old and reference log-probabilities. `update`: forward and backward."""


def main() -> None:
    """Measure, print, record, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=("tiny", "small", "2b", "7b"), default="small")
    parser.add_argument("--n", type=int, nargs="+", default=[2, 7, 14, 28], help="rollouts of a question")
    parser.add_argument("--answers", type=int, nargs="+", default=[10, 100, 300], help="tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the shared passes; the median counts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    start(options.device)
    from passes_show import draw, show  # pyright: ignore[reportMissingImports]

    options.out.mkdir(exist_ok=True)
    path = options.out / f"passes_{options.device}_{options.shape}.json"
    record = resume(path, about(options))
    for row in measure_all(options, record["rows"]):
        record["rows"].append(row)
        path.write_text(json.dumps(record, indent=1) + "\n")
    show(record)
    draw(record, path.with_suffix(".png"))


def resume(path: Path, now: dict[str, Any]) -> dict[str, Any]:
    """What an interrupted run of today, on the same machine and versions, has measured already."""
    if path.exists():
        before = json.loads(path.read_text())
        if {**before["about"], RATE: 0} == {**now, RATE: 0}:
            return {**before, "rows": complete(before["rows"])}
    return {"about": now, "rows": []}


def complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the cases of which all passes are there."""
    done = {case_of(row) for row in rows if row["pass"] == PASSES[-1]}
    return [row for row in rows if case_of(row) in done]


def case_of(row: dict[str, Any]) -> tuple[int, int, str]:
    """Answer length, number of rollouts, engine."""
    return row["answer"], row["n"], row["kind"]


def start(device: str) -> None:
    """A process group of one; one thread on a CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here (torch.cuda.is_available() is False), and nothing was measured")
    if device == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
        torch.set_num_threads(1)
    import verl  # noqa: F401 - opens our plug-in

    backend = "cpu:gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, init_method="tcp://127.0.0.1:29533", rank=0, world_size=1)


def about(options: argparse.Namespace) -> dict[str, Any]:
    """What was measured, on what, with what."""
    device = platform.processor() or platform.machine()
    if options.device == "cuda":
        device = torch.cuda.get_device_name()
    return {
        "what": "one micro-batch of n rollouts on one video: seconds, peak bytes above the start, FLOPs, text tokens",
        "device": device,
        "shape": options.shape,
        "dtype": "float32" if options.device == "cpu" else "bfloat16",
        "video_tokens": GRID[0] * GRID[1] * GRID[2] // 4,
        "text_tokens": TEXT,
        RATE: matrix_rate(options.device),
        "versions": {package: version(package) for package in ("verl-vsi", "verl", "torch", "transformers")},
        "date": time.strftime("%Y-%m-%d"),
    }


def matrix_rate(device: str) -> float:
    """Floating-point operations a second of a large matrix product: what the device really does."""
    side, dtype = (2048, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a = torch.randn(side, side, device=device, dtype=dtype)
    seconds = min(clock(lambda: a @ a, device)[0] for _ in range(3))
    return 2 * side**3 / seconds


def measure_all(options: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each answer length, number of rollouts, engine and pass that is not there yet."""
    from passes_setup import SHAPES, save_model  # pyright: ignore[reportMissingImports]
    from rich.progress import track
    from vsi_support.engine_batches import SampleQuestion, engine_batch

    shape = SHAPES[options.shape]
    engines = Engines(save_model(shape, torch.float32 if options.device == "cpu" else torch.bfloat16), options.device)
    there = set(map(case_of, done))
    todo = [case for case in cases(options) if case not in there]
    for length, n, kind in track(todo, description="passes"):
        batch = engine_batch([SampleQuestion([length] * n, text=TEXT, grids=(GRID,))], calculate_entropy=False)
        for name in PASSES:
            repeats = 1 if kind == "stock" else options.repeats
            warm = kind == "frozen" or options.device == "cuda"
            case = {"kind": kind, "pass": name, "n": n, "answer": length}
            try:
                measured = measure(engines.get(kind), batch, name, repeats, options.device, warm=warm)
            except torch.OutOfMemoryError:
                measured = {"seconds": math.inf, "peak_bytes": math.inf}  # stock's logits, for many long answers
            yield {**case, **measured, "floor": floor(shape, kind, name, n, length), "tokens": tokens(kind, n, length)}


def cases(options: argparse.Namespace) -> list[tuple[int, int, str]]:
    """On a CPU the engines take turns, so that all meet the same load; on a GPU each has the memory for itself."""
    every = [(length, n, kind) for length in options.answers for n in options.n for kind in KINDS]
    return every if options.device == "cpu" else sorted(every, key=lambda case: KINDS.index(case[2]))


class Engines:
    """Engines by kind: all of them on a CPU, one at a time on a GPU."""

    def __init__(self, folder: Path, device: str) -> None:
        """Engines over the model in `folder`."""
        self.folder, self.device = folder, device
        self._made: dict[str, Any] = {}

    def get(self, kind: str) -> Any:
        """The engine, made when it is asked for."""
        from passes_setup import make_engine  # pyright: ignore[reportMissingImports]

        if kind not in self._made:
            if self.device == "cuda":
                self._made.clear()
                gc.collect()
            shared, frozen = kind != "stock", kind == "frozen"
            self._made[kind] = make_engine(self.folder, self.device, shared=shared, frozen=frozen)
        return self._made[kind]


def tokens(kind: str, n: int, length: int) -> int:
    """Tokens that the language model computes."""
    prompt = GRID[0] * GRID[1] * GRID[2] // 4 + 2 + TEXT
    return n * (prompt + length) if kind == "stock" else prompt + n * (length - 1)


def floor(shape: Any, kind: str, name: str, n: int, length: int) -> float:
    """Floating-point operations that the pass cannot do without; a backward pass costs two forward ones."""
    from passes_setup import flops  # pyright: ignore[reportMissingImports]

    patches, frame = GRID[0] * GRID[1] * GRID[2], GRID[1] * GRID[2]
    passes, all_tokens = 1 if name == "forward" else 3, tokens(kind, n, length)
    if kind == "stock":
        one = all_tokens // n
        return n * flops(shape, patches=patches, tokens=one, answers=one, frame=frame) * passes
    shown = 0 if kind == "frozen" else patches
    return flops(shape, patches=shown, tokens=all_tokens, answers=n * length, frame=frame) * passes


def measure(engine: Any, batch: Any, name: str, repeats: int, device: str, *, warm: bool) -> dict[str, float]:
    """Median seconds and the peak of memory."""
    from vsi_support.engine_batches import ppo_loss

    loss_function = ppo_loss()

    def run() -> None:
        if name == "forward":
            with torch.no_grad():
                engine.forward_step(batch, None, True)
        else:
            engine.forward_step(batch, loss_function, False)[0].backward()
            engine.module.zero_grad(set_to_none=True)

    if warm:
        run()  # the feature cache is filled
    runs = sorted(clock(run, device) for _ in range(repeats))
    peak = max(peak for _, peak in runs) if device == "cuda" else exact_peak(run)
    return {"seconds": runs[len(runs) // 2][0], "peak_bytes": peak}


MMAP_THRESHOLD, SMALL, LARGE = -3, 2**16, 2**25
"""glibc's M_MMAP_THRESHOLD; LARGE is where it arrives by itself."""


def exact_peak(run: Callable[[], Any]) -> int:
    """Bytes at the peak of a run whose tensors go back to the system as soon as they are gone.

    As it comes, glibc keeps pages of freed tensors, and a peak can read half as much again.
    """
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(MMAP_THRESHOLD, SMALL)
    try:
        return clock(run, "cpu")[1]
    finally:
        libc.mallopt(MMAP_THRESHOLD, LARGE)


def clock(run: Callable[[], Any], device: str) -> tuple[float, int]:
    """Seconds (of CPU time on a CPU), and bytes at the peak above those at the start."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        return time.perf_counter() - start, torch.cuda.max_memory_allocated() - before
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
