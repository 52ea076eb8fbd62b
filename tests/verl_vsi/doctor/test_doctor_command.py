"""`verl-vsi doctor` as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")
pytest.importorskip("vllm")


def doctor(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "verl_vsi.cli", "doctor", *arguments],
        env={**os.environ, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_whole_installation_is_ready() -> None:
    run = doctor()
    assert run.returncode == 0, run.stdout
    assert "vsgrpo_miniature" in run.stdout
    assert "FAIL" not in run.stdout


def test_plug_ins_switched_off_are_one_thing_to_solve() -> None:
    run = doctor(VERL_USE_EXTERNAL_PLUGINS="none")
    assert run.returncode == 1
    assert "unset VERL_USE_EXTERNAL_PLUGINS" in run.stdout
    assert "1 to solve before a run" in run.stdout


def test_a_broken_plug_in_is_named_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['verl_vsi.cpu.device'] = None\n")
    run = doctor(PYTHONPATH=str(tmp_path))
    assert run.returncode == 1
    assert "the CPU platform: " in run.stdout
    assert "verl_vsi.cpu.device" in run.stdout
