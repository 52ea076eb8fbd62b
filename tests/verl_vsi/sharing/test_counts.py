"""What is counted is what happened, in each process of a run; and what was recorded keeps its promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verl_vsi.data_adapters.mp4 import encode_mp4

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
READ_TWICE = """
import sys
from pathlib import Path
import verl
from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
spec = FrameSpec(sampler="linspace", nframes=4, fps=None, min_pixels=3136, max_pixels=3136)
root = Path(sys.argv[1])
for _ in range(2):
    FrameStore(root / "frames", spec).frames(root / "a.mp4")
"""


def read_twice(root: Path, **variables: str) -> list[dict[str, Any]]:
    """Events of a process that reads one video from two stores over one folder."""
    (root / "a.mp4").write_bytes(encode_mp4(np.zeros((4, 56, 56, 3), dtype=np.uint8), 4))
    subprocess.run(
        [sys.executable, "-c", READ_TWICE, str(root)], check=True, env={**os.environ, **variables}, timeout=120
    )
    return script().read_events(root / "counts")


def script() -> Any:
    """`benchmarks/rollout_counts.py`, which adds the events up."""
    spec = util.spec_from_file_location("rollout_counts", BENCHMARKS / "rollout_counts.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_video_that_is_read_twice_is_decoded_once(tmp_path: Path) -> None:
    (event,) = read_twice(tmp_path, **script().counting(tmp_path / "counts"))
    assert (event["what"], event["video"]) == ("decode", str(tmp_path / "a.mp4"))


def test_nothing_is_counted_unless_asked(tmp_path: Path) -> None:
    assert read_twice(tmp_path) == []


def test_events_are_added_up_by_what_the_process_does() -> None:
    def event(what: str, who: str, **rest: Any) -> dict[str, Any]:
        return {"what": what, "who": who, "pid": 1, "at": 2.0, **rest}

    totals = script().totals(
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
    assert (totals["videos"], totals["decodes"], totals["most decodes of a video"]) == (2, 3, 2)
    assert (totals["processor calls, verl"], totals["processor calls, vLLM"]) == (1, 1)
    assert (totals["pixels made, trainer"], totals["pixels made, rollout"]) == (1, 0)
    assert (totals["queue bytes"], totals["queue bytes, put"], totals["queue bytes, got"]) == (12, 7, 5)
    assert totals["prefix cache"] == {"queries": 8, "hits": 6, "rate": 0.75}
    assert totals["video cache"] == {"queries": 0, "hits": 0, "rate": None}


@pytest.fixture(scope="module", params=[1, 2], ids="{} ranks".format)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the benchmark wrote."""
    return json.loads((BENCHMARKS / "results" / f"rollout_counts_{request.param}.json").read_text())


def test_the_recorded_run_did_each_piece_once(recorded: dict[str, Any]) -> None:
    shared = recorded["shared"]
    assert shared["most decodes of a video"] == 1
    assert shared["decodes"] == shared["videos"]
    assert shared["processor calls, verl"] == shared["prompts"]
    assert shared["processor calls, vLLM"] <= shared["prompts"]
    assert shared["video loads"] == shared["prompts"]


def test_upstream_did_it_for_every_rollout(recorded: dict[str, Any]) -> None:
    upstream = recorded["stock"]
    assert upstream["video loads"] == recorded["n"] * upstream["prompts"]
    assert upstream["processor calls, verl"] >= recorded["n"] * upstream["prompts"]


def test_the_recorded_run_moved_a_fiftieth_of_upstreams_bytes(recorded: dict[str, Any]) -> None:
    shared, upstream = recorded["shared"], recorded["stock"]
    assert shared["prompts"] == upstream["prompts"]
    assert 50 * shared["queue bytes"] <= upstream["queue bytes"]
