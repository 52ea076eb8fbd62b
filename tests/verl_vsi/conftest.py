from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = ["--train-rooms", "64", "--heldout-rooms", "24", "--sft-steps", "4", "--vsgrpo-steps", "2"]


@pytest.fixture(scope="session")
def demo_command() -> list[str]:
    """The command of `demo_folder`, without its folder."""
    return [str(Path(sys.executable).with_name("verl-vsi")), "miniature", *DEMO]


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory, demo_command: list[str]) -> Path:
    """The folder of a small whole demonstration: its checkpoints serve every test that wants trained ones."""
    folder = tmp_path_factory.mktemp("demo")
    command = [*demo_command, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return folder
