"""A data root of a few rendered rooms and their rows, made by the demonstration's own stages."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.pipeline import run_stages


def make_rooms(folder: Path, *, frames: bool = False) -> Path:
    """Rooms, rows and, where asked for, frames; returns the data root.

    Args:
        folder: logs go there too.
        frames: built ahead; without them a run decodes by itself.
    """
    stages = data_stages(Demo(folder, train_rooms=8, heldout_rooms=4))
    run_stages([stage for stage in stages if frames or stage.name != "frames"], folder, Console(quiet=True))
    return folder / "data"
