"""Real runs of `main_ppo` on verl's Megatron engine on a CPU: update, KL, weight sync, checkpoint, resume, export.

Slow, some minutes each, and needs the set of `make megatron`:

    .venv-megatron/bin/python -m pytest -m slow tests/verl_vsi/megatron/test_main_ppo.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from vsi_support.marks import needs_bridge
from vsi_support.small_rooms import make_rooms
from vsi_support.validation import evaluated, validated

from verl_vsi.evaluation.ask.checkpoints import as_served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_bridge]

CORRELATION = "training/rollout_actor_probs_pearson_corr"
TWO_RANKS = ("vsi.hardware.n_gpus_per_node=2", "vsi.hardware.ray_gpus=2", "vsi.hardware.ray_cpus=24")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and rows."""
    return make_rooms(tmp_path_factory.mktemp("rooms"))


def train(data: Path, folder: Path, *overrides: str, steps: int) -> list[dict[str, Any]]:
    """What each step of a run logs; its checkpoint is in `folder`."""
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", "backend=megatron"]
    command += [f"vsi.root={data}", f"vsi.frames.store={data}/frames", f"trainer.default_local_dir={folder}"]
    command += [f"trainer.total_training_steps={steps}", f"trainer.save_freq={steps}", f"trainer.test_freq={steps}"]
    command += [f"vsi.data.val={data}/rows/val.parquet", f"trainer.validation_data_dir={folder}/validation"]
    command += ["trainer.val_before_train=false", "trainer.logger=[console,file]", "trainer.total_epochs=9"]
    log = folder.with_suffix(".log")
    with log.open("ab") as out:
        subprocess.run(
            [*command, *overrides], env=os.environ, cwd=data, stdout=out, stderr=out, timeout=1700, check=True
        )
    files = sorted((folder / "metrics").glob("*.jsonl"))
    return [json.loads(line)["data"] for line in files[-1].read_text().splitlines()]


def updates(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of training."""
    return [step for step in steps if CORRELATION in step]


@pytest.mark.parametrize("passes", ["shared", "stock"])
def test_the_miniature_trains_and_goes_on(data: Path, tmp_path: Path, passes: str) -> None:
    folder = tmp_path / "run"
    first = updates(train(data, folder, f"passes={passes}", steps=2))
    resumed = updates(train(data, folder, f"passes={passes}", steps=3))
    assert (len(first), len(resumed)) == (2, 1)
    assert min(step[CORRELATION] for step in first + resumed) > 0.9999
    assert first[0]["actor/kl_loss"] == pytest.approx(0, abs=1e-6)
    assert min(step["actor/kl_loss"] for step in [first[1], *resumed]) > 1e-5
    log = folder.with_suffix(".log").read_text(errors="replace")
    assert ("passes: shared (each video" in log) is (passes == "shared")
    assert "verl's own passes:" not in log
    assert_is_evaluated(folder, data, step=3)


def test_lora_trains_and_its_adapter_is_merged(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    steps = updates(train(data, folder, "vsi.lora.rank=8", steps=2))
    assert min(step[CORRELATION] for step in steps) > 0.9999
    assert_is_evaluated(folder, data, step=2)


@pytest.mark.parametrize(
    "parallel", ["vsi.hardware.tensor_parallel=2", "actor_rollout_ref.actor.megatron.pipeline_model_parallel_size=2"]
)
def test_two_ranks_train(data: Path, tmp_path: Path, parallel: str) -> None:
    steps = updates(train(data, tmp_path / "run", parallel, *TWO_RANKS, steps=3))
    assert len(steps) == 3
    assert min(step[CORRELATION] for step in steps) > 0.9999


def assert_is_evaluated(run: Path, data: Path, step: int) -> None:
    """With the answers and rewards of the trainer's own validation; its weights are all there, and not the base's."""
    answers = evaluated(run, data / "rows" / "val.parquet", data, run / "eval")
    assert answers == validated(run / "validation", step)
    assert_loads(Path(as_served(str(run), lora="fold", console=Console()).model))


def assert_loads(folder: Path) -> None:
    """In transformers, with every weight, and not the base's weights."""
    from safetensors.torch import load_file

    from verl_vsi.config.resolvers import package

    trained = load_file(folder / "model.safetensors")
    base = load_file(Path(package("miniature/base")) / "model.safetensors")
    assert trained.keys() == base.keys()
    assert max(float((weight.float() - base[name].float()).abs().max()) for name, weight in trained.items()) > 1e-5
