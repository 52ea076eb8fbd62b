"""A run is repeated in an empty shell from its record alone (pytest -m slow tests/recipes/test_repeating_a_run.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from verl_vsi.config import provenance
from verl_vsi.config.access import flatten
from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.pipeline import run_stages

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(900)]

RECIPE = """# @package _global_
# SFT of two steps, in a folder of the user's.
defaults:
  - sft_miniature
  - _self_

trainer:
  total_training_steps: 2
  save_freq: -1
  test_freq: -1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose recipe, data and settings come from outside: a config folder and variables."""
    folder = tmp_path_factory.mktemp("a run")
    demo = Demo(folder, train_rooms=16, heldout_rooms=16)
    run_stages(data_stages(demo), folder, Console(file=StringIO()))
    (folder / "my configs" / "recipe").mkdir(parents=True)
    (folder / "my configs" / "recipe" / "mine.yaml").write_text(RECIPE)
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node=1", "-m"]
    command += ["verl.trainer.sft_trainer", "--config-dir", "my configs", "+recipe=mine", "mode=think"]
    command += [f"vsi.data.val={demo.rows('val')}", "trainer.default_local_dir=first run"]
    environment = os.environ | {"VSI_ROOT": str(demo.root), "HF_TOKEN": "hf_abcdefghijklmnopqrst"}
    started(command, folder, environment)
    return folder / "first run"


def started(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def losses(run: Path) -> list[dict[str, Any]]:
    (file,) = (run / "metrics").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        {"step": r["step"], **{k: v for k, v in r["data"].items() if "loss" in k or "grad_norm" in k}} for r in records
    ]


def test_what_recipes_show_prints_runs_in_an_empty_shell_and_gives_the_same_run(run: Path, tmp_path: Path) -> None:
    show = [str(Path(sys.executable).with_name("verl-vsi")), "recipes", "show", str(run)]
    shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert "hf_abc" not in shown
    second = tmp_path / "second"
    script = shown.rstrip("\n") + f" trainer.default_local_dir={second}\n"
    started(["bash", "-euc", script], tmp_path, {"HOME": str(tmp_path)})
    before, after = provenance.latest(run), provenance.latest(second)
    assert before is not None
    assert after is not None
    old, new = flatten(before["resolved"]), flatten(after["resolved"])
    assert {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} == {"trainer.default_local_dir"}
    for part in ("recipe", "versions", "data", "source", "model", "machine", "seed"):
        assert before[part] == after[part], part
    assert losses(run) == losses(second)
    assert [record["step"] for record in losses(run)] == [1, 2, 2], "two steps and a validation"
