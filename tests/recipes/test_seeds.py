"""Two runs of one seed are one series of metrics, bit for bit (pytest -m slow tests/recipes/test_seeds.py; minutes)."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.pipeline import run_stages

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(1800)]

OF_THE_CLOCK = ("timing", "perf/", "actor/perf/")
"""Metrics of time and memory."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("rooms")
    demo = Demo(folder, train_rooms=16, heldout_rooms=16)
    run_stages(data_stages(demo), folder, Console(file=StringIO()))
    return demo


def train(story: Demo, run: Path, seed: int) -> list[dict[str, float]]:
    """The metrics of two steps and of a validation before them."""
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", f"vsi.root={story.root}"]
    command += [f"vsi.data.val={story.rows('val')}", f"trainer.default_local_dir={run}", f"vsi.seed={seed}"]
    command += ["trainer.total_training_steps=2", "trainer.save_freq=-1", "trainer.test_freq=-1"]
    command += ["data.train_batch_size=4", "vsi.lora.rank=8"]  # new adapters are random, too
    subprocess.run(command, check=True, capture_output=True, cwd=story.folder)
    (log,) = (run / "metrics").glob("*.jsonl")
    lines = [json.loads(line)["data"] for line in log.read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(OF_THE_CLOCK)} for line in lines]


def test_two_runs_of_one_seed_have_one_series_and_another_seed_another(story: Demo, tmp_path: Path) -> None:
    first, second, other = (train(story, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert [line.get("training/global_step") for line in first] == [None, 1, 2]
    for before, after in zip(first[1:], second[1:], strict=True):
        assert before == after
    assert second[0] == pytest.approx(first[0], rel=1e-9)  # means over answers in the order of their arrival
    assert first[1]["critic/score/mean"] != other[1]["critic/score/mean"]
