from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STORY = ["--train-rooms", "64", "--heldout-rooms", "24", "--sft-steps", "4", "--vsgrpo-steps", "2"]


@pytest.fixture(scope="session")
def story_command() -> list[str]:
    """The command of `told`, without its folder."""
    return [str(Path(sys.executable).with_name("verl-vsi")), "miniature", *STORY]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, story_command: list[str]) -> Path:
    """The folder of a small whole story: its checkpoints serve every test that wants trained ones."""
    folder = tmp_path_factory.mktemp("story")
    command = [*story_command, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return folder
