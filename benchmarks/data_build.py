"""Rows of the paper's preset from 1,200 made-up scenes: seconds, rows a second, peak memory.

Run: python benchmarks/data_build.py [--scenes 1200] [--rules paper]
The bar: 117k rows in at most 3 minutes on 2 cores, under 2 GiB.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from verl_vsi.data_adapters.scene_files import read_scenes, write_scenes
from verl_vsi.data_adapters.schema import Box, Scene
from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows


def scannet_like(number: int) -> Scene:
    """A room of 10 to 60 m2 with 4 to 20 single objects and 2 to 7 categories of several, turned anyhow about z."""
    rng = np.random.default_rng(number)
    counts = {f"thing {i}": 1 for i in range(rng.integers(4, 21))}
    counts |= {f"group {i}": int(rng.integers(2, 9)) for i in range(rng.integers(2, 8))}
    width, depth = rng.uniform(3.0, 8.0, 2)
    boxes = tuple(_box(rng, category, width, depth) for category, n in counts.items() for _ in range(n))
    name = f"scene{1000 + number:04d}_00"
    return Scene(name, "scannet", f"scannet/{name}.mp4", width * depth, boxes, counts)


def _box(rng: np.random.Generator, category: str, width: float, depth: float) -> Box:
    turn = rng.uniform(0, np.pi)
    axes = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    place = rng.uniform([0, 0, 0.2], [width, depth, 1.5])
    return Box(category, place, rng.uniform(0.2, 2.0, 3), axes, center=place + rng.normal(0, 0.05, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1200)
    parser.add_argument("--rules", default="paper")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "all.scenes.jsonl"
        write_scenes(scenes, (scannet_like(i) for i in range(settings.scenes)))
        start = time.perf_counter()
        outcome = build_rows(Path(folder) / "train.parquet", read_scenes(scenes), BuildPlan(settings.rules), "made up")
        seconds = time.perf_counter() - start
        size = outcome.path.stat().st_size / 2**20
        tasks = _tasks(outcome.path)
    rows = outcome.fingerprint["rows"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{settings.scenes} scenes, rules {settings.rules}: {rows} rows in {seconds:.1f} s on one core")
    print(f"{rows / seconds:.0f} rows/s; peak memory {peak:.2f} GiB; file {size:.1f} MiB; bar: 180 s, 2 GiB")
    print(", ".join(f"{task} {n}" for task, n in tasks.items()))


def _tasks(path: Path) -> Counter[str]:
    from verl_vsi.data_adapters.rows import iter_rows

    return Counter(row["extra_info"]["task"] for row in iter_rows(path))


if __name__ == "__main__":
    main()
