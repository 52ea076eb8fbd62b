"""Real runs of verl's SFT trainer on its Megatron engine on a CPU, beside FSDP2's.

Slow, a minute a run, and needs the set of `make megatron`:

    .venv-megatron/bin/python -m pytest -m slow tests/verl_vsi/megatron/test_sft_trainer.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from vsi_support.marks import needs_bridge
from vsi_support.small_rooms import make_rooms

from verl_vsi.evaluation.ask.checkpoints import as_served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), needs_bridge]

STEPS = 3
TORCHRUN = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node=1", "-m"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and rows."""
    return make_rooms(tmp_path_factory.mktemp("rooms"))


def train(data: Path, folder: Path, backend: str, rank: int) -> list[dict[str, float]]:
    """What each step logs.

    Args:
        data: root.
        folder: of the run.
        backend: fsdp2 or megatron.
        rank: of LoRA; 0: all weights.
    """
    command = [*TORCHRUN, "verl.trainer.sft_trainer", "+recipe=sft_miniature", f"backend/sft={backend}"]
    command += [f"vsi.root={data}", f"vsi.frames.store={data}/frames", f"trainer.default_local_dir={folder}"]
    command += [f"vsi.data.val={data}/rows/val.parquet", f"vsi.lora.rank={rank}", "trainer.logger=[console,file]"]
    command += ["data.train_batch_size=8", "data.micro_batch_size_per_gpu=4", "trainer.test_freq=-1"]
    command += [f"trainer.total_training_steps={STEPS}", f"trainer.save_freq={STEPS}"]
    with folder.with_suffix(".log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=900, check=True)
    (metrics,) = (folder / "metrics").glob("*.jsonl")
    steps = [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
    return [step for step in steps if "train/loss" in step]


def test_megatron_learns_as_fsdp2_and_its_model_loads(data: Path, tmp_path: Path) -> None:
    fsdp2, megatron = (train(data, tmp_path / backend, backend, 0) for backend in ("fsdp2", "megatron"))
    assert len(megatron) == STEPS
    for measure in ("train/loss", "train/grad_norm"):
        assert [step[measure] for step in megatron] == pytest.approx([step[measure] for step in fsdp2], rel=1e-4)
    ours, theirs = (updates(tmp_path / backend) for backend in ("megatron", "fsdp2"))
    assert ours.keys() == theirs.keys()
    apart = sum(float((update - theirs[name]).abs().sum()) for name, update in ours.items())
    assert apart < 1e-4 * sum(float(update.abs().sum()) for update in theirs.values())


def test_lora_learns_and_is_merged(data: Path, tmp_path: Path) -> None:
    steps = train(data, tmp_path / "megatron", "megatron", 8)
    assert len(steps) == STEPS
    assert any(bool(update.any()) for update in updates(tmp_path / "megatron").values())


def updates(run: Path) -> dict[str, torch.Tensor]:
    """What training has added to each weight, in the model that an evaluation serves of a run."""
    from safetensors.torch import load_file

    from verl_vsi.config.resolvers import package

    base = load_file(Path(package("miniature/base")) / "model.safetensors")
    trained = load_file(Path(as_served(str(run), lora="fold", console=Console()).model) / "model.safetensors")
    return {name: tensor.float() - base[name].float() for name, tensor in trained.items()}
