"""The script that measures training passes runs, in a size that takes seconds."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "passes.py"


def passes(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, env=environment, timeout=250
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("results")
    process = passes("--shape", "tiny", "--n", "2", "3", "--answers", "3", "--repeats", "1", "--out", str(folder))
    assert process.returncode == 0, process.stderr[-2000:]
    return folder, process.stdout


def test_every_case_has_time_memory_and_floor(measured: tuple[Path, str]) -> None:
    rows = json.loads((measured[0] / "passes_cpu_tiny.json").read_text())["rows"]
    kinds = {(row["kind"], row["pass"], row["n"]) for row in rows}
    assert kinds == {(k, p, n) for k in ("stock", "shared", "frozen") for p in ("forward", "update") for n in (2, 3)}
    assert all(0 < row["seconds"] < math.inf and row["floor"] > 0 for row in rows)


def test_the_table_and_the_picture_are_there(measured: tuple[Path, str]) -> None:
    assert "times cheaper than verl" in measured[1]
    assert "n from 2 to 3" in measured[1]
    assert (measured[0] / "passes_cpu_tiny.png").stat().st_size > 10_000


def test_tokens_are_counted_as_the_passes_compute_them(measured: tuple[Path, str]) -> None:
    rows = json.loads((measured[0] / "passes_cpu_tiny.json").read_text())["rows"]
    counted = {(row["kind"], row["n"]): row["tokens"] for row in rows}
    assert counted["stock", 3] == 3 * (1024 + 2 + 200 + 3)
    assert counted["shared", 3] == 1024 + 2 + 200 + 3 * 2


@pytest.mark.parametrize("model", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.slow
def test_every_model_has_its_measures(tmp_path: Path, model: str) -> None:
    """pytest -m slow tests/benchmarks/test_passes_script.py"""
    case = ("--shape", "tiny", "--n", "2", "--answers", "3", "--repeats", "1")
    process = passes("--model", model, *case, "--out", str(tmp_path))
    assert process.returncode == 0, process.stderr[-2000:]
    record = json.loads((tmp_path / f"passes_cpu_{model}_tiny.json").read_text())
    assert record["about"]["model"] == model
    assert len(record["rows"]) == 6


def test_a_shape_of_another_model_is_said_at_once() -> None:
    process = passes("--model", "qwen3_vl", "--shape", "7b")
    assert process.returncode == 2
    assert "--shape 7b: qwen3_vl has tiny, small, 2b" in process.stderr
