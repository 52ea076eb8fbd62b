"""The command for one GPU runs whole on a CPU, with a tiny model, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.timeout(900)  # half a minute on a quiet machine

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu"


def gpu(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, env=environment, timeout=800
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("gpu")
    return ("--device", "cpu", "--tiny", "--models", str(folder / "models"), "--out", str(folder))


def test_every_piece_runs_and_agrees(tiny: tuple[str, ...]) -> None:
    process = gpu(*tiny)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    rows = json.loads((Path(tiny[-1]) / "gpu_tiny_cpu.json").read_text())["rows"]
    figures = {name: [row["figures"] for row in rows if row["piece"] == name] for name in {r["piece"] for r in rows}}
    assert figures.keys() == {"kernels", "megatron", "updates", "equality", "memory"}
    assert all(row["error"] < 1e-5 for row in figures["kernels"])
    assert all(row["megatron"] < 1e-5 for row in figures["megatron"])
    assert all(row["shared"] < 1e-5 and row["shared, gradient"] < 1e-6 for row in figures["equality"])
    assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 for row in figures["updates"])
    assert all(row["allocated"] > 0 for row in figures["memory"])


def test_what_is_measured_is_not_measured_again(tiny: tuple[str, ...]) -> None:
    path = Path(tiny[-1]) / "gpu_tiny_cpu.json"
    record = json.loads(path.read_text())
    record["rows"] = [row for row in record["rows"] if row["piece"] != "kernels"]
    path.write_text(json.dumps(record))
    process = gpu(*tiny)
    assert process.returncode == 0, process.stderr[-2000:]
    lines = [line.split(":")[0] for line in process.stdout.splitlines() if line.rstrip().endswith("...")]
    assert lines == ["kernels"] * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said_at_once() -> None:
    process = gpu()
    assert process.returncode != 0
    assert "there is no GPU here" in process.stderr


def test_an_unknown_piece_is_said_at_once() -> None:
    process = gpu("--device", "cpu", "--tiny", "--piece", "kernel")
    assert process.returncode != 0
    assert "--piece kernel is unknown; choose of kernels" in process.stderr
