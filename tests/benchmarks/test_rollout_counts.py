"""What is counted is what happened, in each process of a run; and what was recorded keeps its promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from verl_vsi.data_adapters.mp4 import encode_mp4

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
LOOK_TWICE = """
import sys
from pathlib import Path
import verl
from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
spec = FrameSpec(sampler="linspace", nframes=4, fps=None, min_pixels=3136, max_pixels=3136)
root = Path(sys.argv[1])
for _ in range(2):
    FrameStore(root / "frames", spec).frames(root / "a.mp4")
"""


Benchmark = Callable[[str], ModuleType]


def look_twice(root: Path, **variables: str) -> None:
    """Let a process read one video from two stores over one folder."""
    (root / "a.mp4").write_bytes(encode_mp4(np.zeros((4, 56, 56, 3), dtype=np.uint8), 4))
    subprocess.run(
        [sys.executable, "-c", LOOK_TWICE, str(root)], check=True, env={**os.environ, **variables}, timeout=120
    )


def test_a_video_that_is_read_twice_is_decoded_once(tmp_path: Path, benchmark: Benchmark) -> None:
    look_twice(tmp_path, **benchmark("rollout_counts").counting(tmp_path / "counts"))
    (event,) = benchmark("counts_figures").read_events(tmp_path / "counts")
    assert (event["what"], event["video"]) == ("decode", str(tmp_path / "a.mp4"))


def test_nothing_is_counted_unless_the_plug_in_is_named(tmp_path: Path) -> None:
    look_twice(tmp_path)
    assert not (tmp_path / "counts").exists()


def test_events_are_added_up_by_what_the_process_does(benchmark: Benchmark) -> None:
    def event(what: str, who: str, **rest: Any) -> dict[str, Any]:
        return {"what": what, "who": who, "pid": 1, "at": 2.0, **rest}

    figures = benchmark("counts_figures").totals(
        [
            event("decode", "GroupWorker", video="a"),
            event("decode", "GroupWorker", video="a"),
            event("decode", "TaskRunnerV1", video="b"),
            event("processor_call", "vLLMHttpServer") | {"at": 0.5},  # vLLM tries out its largest input
            event("video_load", "GroupWorker") | {"at": 1.0},
            event("processor_call", "GroupWorker"),
            event("pixels_made", "vLLMHttpServer"),
            event("pixels_made", "WorkerDict"),
            event("queue", "GroupWorker", kind="PUT_DATA", bytes=7, sent=1),
            event("queue", "WorkerDict", kind="GET_DATA_RESPONSE", bytes=5, sent=0),
            event("prefix_cache", "vLLMHttpServer", requests=1, queries=8, hits=6),
        ],
        prompts=1,
    )
    assert (figures["videos"], figures["decodes"], figures["most decodes of a video"]) == (2, 3, 2)
    assert (figures["processor calls, verl"], figures["processor calls, vLLM"]) == (1, 1)
    assert (figures["pixels made, trainer"], figures["pixels made, rollout"]) == (1, 0)
    assert (figures["queue bytes"], figures["queue bytes, put"], figures["queue bytes, got"]) == (12, 7, 5)
    assert figures["prefix cache"] == {"queries": 8, "hits": 6, "rate": 0.75}
    assert figures["video cache"] == {"queries": 0, "hits": 0, "rate": None}


@pytest.fixture(scope="module", params=[1, 2], ids="{} ranks".format)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the benchmark wrote."""
    return json.loads((RESULTS / f"rollout_counts_{request.param}.json").read_text())


def test_the_recorded_run_did_each_piece_once(recorded: dict[str, Any]) -> None:
    shared = recorded["shared"]
    assert shared["most decodes of a video"] == 1
    assert shared["decodes"] == shared["videos"]
    assert shared["processor calls, verl"] == shared["prompts"]
    assert shared["processor calls, vLLM"] <= shared["prompts"]
    assert shared["video loads"] == shared["prompts"]


def test_stock_did_it_for_every_rollout(recorded: dict[str, Any]) -> None:
    stock = recorded["stock"]
    assert stock["video loads"] == recorded["n"] * stock["prompts"]
    assert stock["processor calls, verl"] >= recorded["n"] * stock["prompts"]


def test_the_recorded_run_moved_a_fiftieth_of_stocks_bytes(recorded: dict[str, Any]) -> None:
    shared, stock = recorded["shared"], recorded["stock"]
    assert shared["prompts"] == stock["prompts"]
    assert 50 * shared["queue bytes"] <= stock["queue bytes"]
