"""Real runs of `main_ppo` on two ranks with two vLLM replicas: whole groups, counted work, and what may go wrong.

Two trainers, some minutes: pytest -m slow tests/verl_vsi/sharing/test_main_ppo.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from vsi_support.small_rooms import make_rooms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROLLOUTS = 14
CORRELATION = "training/rollout_actor_probs_pearson_corr"
FAULTS = Path(__file__).with_name("faults")
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
RECORDED = BENCHMARKS / "results" / "rollout_counts_2.json"


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended."""

    code: int
    log: str
    steps: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def count(self, what: str, actor: str = "") -> Counter[int]:
        """Events since the first question, of processes whose name holds `actor`, by process."""
        start = min(e["at"] for e in self.events if e["what"] == "video_load")
        return Counter(e["pid"] for e in self.events if e["what"] == what and actor in e["who"] and e["at"] >= start)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and rows; no frames, so that a run decodes."""
    return make_rooms(tmp_path_factory.mktemp("rooms"))


def train(data: Path, folder: Path, *overrides: str, steps: int = 3) -> FinishedRun:
    """`main_ppo` on two ranks with two replicas."""
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", f"vsi.root={data}"]
    command += [
        f"vsi.frames.store={folder}/frames",
        f"trainer.default_local_dir={folder}",
        "trainer.resume_mode=disable",
    ]
    command += [f"trainer.total_training_steps={steps}", "trainer.logger=[console,file]", "trainer.save_freq=-1"]
    command += ["trainer.val_before_train=false", "trainer.test_freq=-1"]
    command += ["vsi.hardware.n_gpus_per_node=2", "vsi.hardware.ray_gpus=2", "vsi.hardware.ray_cpus=24"]
    command += ["actor_rollout_ref.rollout.agent.num_workers=2"]
    env = {
        **os.environ,
        "VSI_COUNTS": f"{folder}/counts",
        "VSI_FAULTS": str(folder),
        "VERL_USE_EXTERNAL_MODULES": "counts_plugin,vsi_faults",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(FAULTS), str(BENCHMARKS), os.environ.get("PYTHONPATH")])),
    }
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.run(
            [*command, *overrides], env=env, cwd=folder, stdout=out, stderr=subprocess.STDOUT, timeout=900, check=False
        )
    steps_logged = [record["data"] for record in _records(folder / "metrics")]
    events = _records(folder / "counts")
    return FinishedRun(process.returncode, log.read_text(errors="replace"), steps_logged, events)


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Three steps of four questions, nothing wrong."""
    run = train(data, tmp_path_factory.mktemp("whole"), "data.train_batch_size=4")
    assert run.code == 0, run.log[-4000:]
    return run


def test_rollout_and_actor_agree_on_two_ranks(whole: FinishedRun) -> None:
    assert [step["training/global_step"] for step in whole.steps] == [1, 2, 3]
    assert min(step[CORRELATION] for step in whole.steps) > 0.999
    assert {step["training/groups_cut"] for step in whole.steps} == {0}
    assert {step["training/rollouts_missing"] for step in whole.steps} == {0}


def test_both_replicas_work_and_no_group_is_on_two(whole: FinishedRun) -> None:
    processed = whole.count("pixels_made", "vLLMHttpServer")
    assert len(processed) == 2, "a replica had nothing to do"
    assert processed.total() <= 12, "a question that two replicas answer is processed by both"


def test_a_video_is_decoded_once_and_a_question_processed_once(whole: FinishedRun) -> None:
    decodes = Counter(event["video"] for event in whole.events if event["what"] == "decode")
    assert set(decodes.values()) == {1}
    assert whole.count("video_load").total() == 12
    assert (whole.count("processor_call") - whole.count("processor_call", "vLLMHttpServer")).total() == 12


def test_a_fiftieth_of_upstreams_bytes_goes_through_the_queue(whole: FinishedRun) -> None:
    upstream = json.loads(RECORDED.read_text())["stock"]
    ours = sum(event["bytes"] for event in whole.events if event["what"] == "queue")
    assert ours / 12 <= upstream["queue bytes"] / upstream["prompts"] / 50


@pytest.fixture(scope="module")
def broken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Three questions a step on two ranks; a rollout of step 1 fails, and a vLLM server dies in step 3."""
    folder = tmp_path_factory.mktemp("broken")
    for fault in ("lose_1", "kill_3"):
        (folder / fault).touch()
    return train(data, folder, "data.train_batch_size=3")


def test_an_odd_batch_is_trained_on_with_one_group_cut(broken: FinishedRun) -> None:
    assert len(broken.steps) == 2, broken.log[-4000:]
    assert [step["training/groups_cut"] for step in broken.steps] == [1, 1]
    assert min(step[CORRELATION] for step in broken.steps) > 0.999


def test_a_group_that_lost_a_rollout_is_trained_on_without_it(broken: FinishedRun) -> None:
    assert "this rollout is lost on purpose" in broken.log
    assert [step["training/rollouts_missing"] for step in broken.steps] == [1, 0]
    assert broken.steps[0]["actor/grad_norm"] > 0


def test_a_lost_replica_stops_the_run_and_is_named(broken: FinishedRun) -> None:
    assert broken.code != 0
    assert "1 of 2 vLLM replicas no longer answer: replica 0 at" in broken.log
    assert "the same command goes on from the last checkpoint" in broken.log
