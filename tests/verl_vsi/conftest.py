from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
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


@pytest.fixture(scope="module")
def untouched_transformers() -> Iterator[None]:
    """verl replaces forwards of transformers' classes for the whole process: other tests want them as they were."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU
    from vsi_support.random_models import FAMILIES

    modules = [vars(import_module(f"transformers.models.{name}.modeling_{name}")) for name in FAMILIES]
    classes = [c for module in modules for c in module.values() if isinstance(c, type) and "forward" in vars(c)]
    forwards = [vars(patched)["forward"] for patched in classes]
    yield
    for patched, forward in zip(classes, forwards, strict=True):
        patched.forward = forward
