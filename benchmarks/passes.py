"""How much training passes cost with and without sharing, from one run.

    python benchmarks/passes.py                                    # CPU, a small model of Qwen2-VL-2B's proportions
    python benchmarks/passes.py --device cuda --shape 2b           # a GPU, bfloat16, random weights

One micro-batch of n rollouts on one video (1,024 video tokens, 200 text tokens): verl's own engine, ours, and ours with
the vision tower frozen. On a CPU, CPU seconds of one thread; on a GPU, seconds. Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
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
PASSES = ("forward", "update")
"""`forward`: old and reference log-probabilities. `update`: forward and backward."""


def main() -> None:
    """Measure, print, record, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=("small", "2b", "7b"), default="small")
    parser.add_argument("--n", type=int, nargs="+", default=[2, 7, 14, 28], help="rollouts of a question")
    parser.add_argument("--answers", type=int, nargs="+", default=[10, 100, 300], help="tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the shared passes; the median counts")
    options = parser.parse_args()
    start(options.device)
    from passes_show import draw, show  # pyright: ignore[reportMissingImports]

    rows = list(measure_all(options))
    name = f"passes_{options.device}_{options.shape}"
    record = {"about": about(options), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    show(record)
    draw(record, RESULTS / f"{name}.png")


def start(device: str) -> None:
    """A process group of one; one thread on a CPU."""
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
        "what": "one micro-batch of n rollouts on one video; seconds and peak bytes above the start",
        "device": device,
        "shape": options.shape,
        "dtype": "float32" if options.device == "cpu" else "bfloat16",
        "video_tokens": GRID[0] * GRID[1] * GRID[2] // 4,
        "text_tokens": TEXT,
        "matrix_flops_per_second": matrix_rate(options.device),
        "versions": {package: version(package) for package in ("verl-vsi", "verl", "torch", "transformers")},
        "date": time.strftime("%Y-%m-%d"),
    }


def matrix_rate(device: str) -> float:
    """Floating-point operations a second of a large matrix product: what the device really does."""
    side, dtype = (2048, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a = torch.randn(side, side, device=device, dtype=dtype)
    seconds = min(clock(lambda: a @ a, device)[0] for _ in range(3))
    return 2 * side**3 / seconds


def measure_all(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each number of rollouts, answer length, engine and pass."""
    from passes_setup import SHAPES, make_engine, save_model  # pyright: ignore[reportMissingImports]
    from rich.progress import track

    from verl_vsi.engine.samples import Question, make_batch

    shape = SHAPES[options.shape]
    folder = save_model(shape, torch.float32 if options.device == "cpu" else torch.bfloat16)
    for kind in KINDS:
        engine = make_engine(folder, options.device, shared=kind != "stock", frozen=kind == "frozen")
        cases = [(n, length) for length in options.answers for n in options.n]
        for n, length in track(cases, description=kind):
            batch = make_batch([Question([length] * n, text=TEXT, grids=(GRID,))], calculate_entropy=False)
            for name in PASSES:
                repeats = 1 if kind == "stock" else options.repeats
                warm = kind == "frozen" or options.device == "cuda"
                yield {
                    "kind": kind,
                    "pass": name,
                    "n": n,
                    "answer": length,
                    **measure(engine, batch, name, repeats, options.device, warm=warm),
                    "floor": floor(shape, kind, name, n, length),
                }
        del engine
        gc.collect()


def floor(shape: Any, kind: str, name: str, n: int, length: int) -> float:
    """Floating-point operations that the pass cannot do without; a backward pass costs two forward ones."""
    from passes_setup import flops  # pyright: ignore[reportMissingImports]

    prompt, patches = GRID[0] * GRID[1] * GRID[2] // 4 + 2 + TEXT, GRID[0] * GRID[1] * GRID[2]
    passes = 1 if name == "forward" else 3
    if kind == "stock":
        one = flops(shape, patches=patches, tokens=prompt + length, answers=prompt + length, frame=GRID[1] * GRID[2])
        return n * one * passes
    shown = 0 if kind == "frozen" else patches
    tokens = prompt + n * (length - 1)
    return flops(shape, patches=shown, tokens=tokens, answers=n * length, frame=GRID[1] * GRID[2]) * passes


def measure(engine: Any, batch: Any, name: str, repeats: int, device: str, *, warm: bool) -> dict[str, float]:
    """Median seconds and the peak of memory."""
    from verl_vsi.engine.samples import ppo_loss

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
    return {"seconds": runs[len(runs) // 2][0], "peak_bytes": max(peak for _, peak in runs)}


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
