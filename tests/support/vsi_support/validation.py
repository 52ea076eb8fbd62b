"""A run's answers to its validation rows: as the trainer wrote them, and as an evaluation gets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

Scored = tuple[str, str, float]
"""Truth, response, reward."""


def validated(folder: Path, step: int) -> list[Scored]:
    """What the trainer wrote.

    Args:
        folder: `trainer.validation_data_dir`.
        step: of the validation.
    """
    lines = [json.loads(line) for line in (folder / f"{step}.jsonl").read_text().splitlines()]
    return sorted((line["gts"], line["output"], line["score"]) for line in lines)


def evaluated(run: Path, rows: Path, root: Path, out: Path) -> list[Scored]:
    """What `verl-vsi eval` gets of a run, with the settings of its record, asked in the words of training.

    Args:
        run: its folder, a step's, or an actor's.
        rows: the validation rows.
        root: of the data.
        out: for the result.
    """
    command = [sys.executable, "-m", "verl_vsi.cli", "eval", str(run), "--rows", str(rows), "--tasks", "present"]
    command += ["--root", str(root), "--out", str(out), "--max-model-len", "512", "--prompts", "train"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    answers = json.loads((out / "normal.json").read_text())["answers"]
    return sorted((answer["truth"], answer["response"], answer["reward"]) for answer in answers)
