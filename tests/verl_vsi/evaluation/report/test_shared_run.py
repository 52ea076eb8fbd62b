"""A run packed for another person: what is in the folder, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.recipes import app
from verl_vsi.config.recipes import composer

pytest.importorskip("verl")

MINE = """# @package _global_
# Mine, in a line.
defaults:
  - vsgrpo_2b
  - _self_
trainer: {experiment_name: mine}
"""
OVERRIDES = ["+recipe=mine", "mode=think", "vsi.root=/home/me/data", "trainer.default_local_dir=/home/me/out"]
OVERRIDES += ["vsi.data.train=[/home/me/a.parquet,/home/me/b.parquet]", "+trainer.token=***", "vsi.frames.nframes=8"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder, beside the recipes that it was started with."""
    recipes = tmp_path / "my_recipes"
    (recipes / "recipe").mkdir(parents=True)
    (recipes / "recipe" / "mine.yaml").write_text(MINE)
    (recipes / "recipe" / "notes.txt").write_text("private")
    shell = {"directory": str(tmp_path), "python": "/home/me/bin", "config_words": [], "processes": 1}
    shell["environment"] = {"VSI_RECIPES": "my_recipes", "VSI_ROOT": "/home/me/data", "HF_TOKEN": "***"}
    record: dict[str, Any] = {
        "recipe": "mine",
        "trainer": "verl.trainer.main_ppo",
        "overrides": OVERRIDES,
        "command": "python -m verl.trainer.main_ppo ...",
        "shell": shell,
        "seed": 42,
        "versions": {"verl-vsi": "0.1.0", "verl": "0.9.1", "torch": "2.13.0"},
        "model": {"name": "Qwen/Qwen2-VL-2B-Instruct"},
        "data": {},
        "resolved": {"vsi": {"frames": {"nframes": 8}}},
    }
    folder = tmp_path / "run"
    (folder / "provenance").mkdir(parents=True)
    (folder / "metrics").mkdir()
    (folder / "provenance" / "20260101T000000.000000Z.json").write_text(json.dumps(record))
    steps = [{"step": step, "data": {"critic/score/mean": step / 10}} for step in (1, 2, 3)]
    lines = "\n".join(map(json.dumps, steps))
    (folder / "metrics" / "20260101T000000.000000Z.jsonl").write_text(lines)
    return folder


def share(run: Path, out: Path) -> str:
    result = CliRunner().invoke(app, ["share", str(run), str(out)])
    assert result.exit_code == 0, result.output
    return result.output


def test_it_has_recipe_command_record_curves_and_card(run: Path, tmp_path: Path) -> None:
    share(run, tmp_path / "shared")
    names = {str(path.relative_to(tmp_path / "shared")) for path in (tmp_path / "shared").rglob("*") if path.is_file()}
    own = {"README.md", "REQUIRED_VERL.txt", "run.sh", "provenance.json", "metrics.jsonl", "curves.png"}
    assert names == own | {"recipe/mine.yaml"}
    assert (tmp_path / "shared" / "REQUIRED_VERL.txt").read_text() == "verl==0.9.1\n"
    assert len((tmp_path / "shared" / "metrics.jsonl").read_text().splitlines()) == 3
    assert "## Required verl version" in (tmp_path / "shared" / "README.md").read_text()


def test_command_and_card_name_no_file_and_no_secret_of_the_sharers(run: Path, tmp_path: Path) -> None:
    printed = share(run, tmp_path / "shared")
    for path in (tmp_path / "shared").rglob("*"):
        if path.suffix in (".md", ".sh", ".txt", ".yaml"):
            assert "/home/me" not in path.read_text(), path
    for key in ("vsi.root", "trainer.default_local_dir", "vsi.data.train", "+trainer.token"):
        assert f"a secret: {key}" in printed
    assert "HF_TOKEN" not in (tmp_path / "shared" / "provenance.json").read_text()


def test_another_person_runs_the_same_recipe(run: Path, tmp_path: Path) -> None:
    """With their own root; further settings follow the run's."""
    shared = tmp_path / "shared"
    share(run, shared)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$VSI_RECIPES" "$@"\n')
    python.chmod(0o755)
    env = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "VSI_ROOT": "/data"}
    env.pop("VSI_RECIPES", None)
    done = subprocess.run([shared / "run.sh", "vsi.seed=7"], env=env, capture_output=True, text=True, check=True)
    folder, *words = done.stdout.split()
    assert words == ["-m", "verl.trainer.main_ppo", "+recipe=mine", "mode=think", "vsi.frames.nframes=8", "vsi.seed=7"]
    with composer(Path(folder)) as compose:
        config = compose.recipe(["mine", *words[3:]])
    assert (config.vsi.frames.nframes, config.vsi.mode.name, config.vsi.seed) == (8, "think", 7)
    env.pop("VSI_ROOT")
    without = subprocess.run([shared / "run.sh"], env=env, capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "set VSI_ROOT to the folder of videos" in without.stderr


def test_what_is_no_run_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "my_recipes", "no recipe was run there"), (run, "name a new folder")):
        out = tmp_path / "shared" if folder != run else run
        result = CliRunner().invoke(app, ["share", str(folder), str(out)])
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
    assert not (tmp_path / "shared").exists()
