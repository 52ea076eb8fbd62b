"""The script that measures a whole step: its commands compose, its files are read, its picture is drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch, benchmark: Callable[[str], ModuleType]) -> ModuleType:
    """The script as a module."""
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    return benchmark("step")


@pytest.mark.parametrize(("case", "passes"), [("verl", "stock"), ("shared", "shared")])
def test_the_trainers_command_composes(step: ModuleType, case: str, passes: str, tmp_path: Path) -> None:
    command, environment = step.verl_command(case, tmp_path, tmp_path)
    shown = subprocess.run(
        [*command, "--cfg", "job"], capture_output=True, text=True, env={**os.environ, **environment}, cwd=tmp_path
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert f"passes: {passes}\n" in shown.stdout
    assert "train_batch_size: 2\n" in shown.stdout


def test_only_whole_lines_are_read(step: ModuleType, tmp_path: Path) -> None:
    assert step.logged(tmp_path) == []
    (tmp_path / "run" / "metrics").mkdir(parents=True)
    (tmp_path / "run" / "metrics" / "now.jsonl").write_text('{"step": 1}\n{"st')
    assert step.logged(tmp_path) == [{"step": 1}]


def test_cpu_seconds_are_those_of_marked_processes(step: ModuleType) -> None:
    code = "sum(range(10**7)); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, step.MARK: "mine"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert step.cpu_seconds("mine") > 0.02
        assert step.cpu_seconds("another's") == 0
        child.communicate(b"\n")


def test_the_picture_shows_each_phase(step: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import step_show

    steps = [{"step": 10.0 + i, "gen": 4.0, "update_actor": 5.0, "cpu": 9.0} for i in range(3)]
    record = {"about": {"what": "a step"}, "cases": {"verl": {"steps": steps}, "shared": {"steps": steps[:1]}}}
    assert step_show.phases(record["cases"]["verl"])["rest"] == 2.0
    step_show.show(json.loads(json.dumps(record)))
    assert "1.1x" in capsys.readouterr().out
    step_show.draw(record, tmp_path / "step.png")
    assert (tmp_path / "step.png").stat().st_size > 5_000
