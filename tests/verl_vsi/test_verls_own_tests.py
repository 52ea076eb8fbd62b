"""verl's own CPU tests, from its wheel, pass and fail beside this package exactly as without it.

    pytest -m slow tests/verl_vsi/test_verls_own_tests.py -s

takes a quarter of an hour and prints both counts. Files that cannot be imported on a machine without CUDA are errors on
both sides.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pytest

pytest.importorskip("verl")

OURS = ("VSI_RUN", "VERL_PLATFORM", "VERL_USE_EXTERNAL_PLUGINS", "VERL_USE_EXTERNAL_MODULES")
OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED) (\S+)", re.MULTILINE)
ENOUGH = 200
"""Tests that must pass on both sides: fewer, and verl's tests were not found."""


def outcomes(folder: Path, plugins: str) -> dict[str, str]:
    """Test -> what became of it.

    Args:
        folder: to run in.
        plugins: value of `VERL_USE_EXTERNAL_PLUGINS`.
    """
    root = Path(str(distribution("verl").locate_file("tests")))
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    options = (
        "-p no:cacheprovider -q -W ignore --continue-on-collection-errors -rA --color=no -o addopts= -o pythonpath="
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options.split(), f"--rootdir={root}", *sorted(root.rglob("*on_cpu*.py"))],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**environment, "VERL_USE_EXTERNAL_PLUGINS": plugins, "OMP_NUM_THREADS": "1"},
    )
    return {test: outcome for outcome, test in OUTCOME.findall(done.stdout)}


@pytest.mark.slow
def test_they_end_as_without_us(tmp_path: Path) -> None:
    without, beside = (outcomes(tmp_path, plugins) for plugins in ("none", "auto"))
    print("without:", Counter(without.values()), "beside:", Counter(beside.values()))
    assert Counter(without.values())["PASSED"] > ENOUGH
    assert beside == without
