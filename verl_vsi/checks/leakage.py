"""Scenes of the benchmark among the scenes to train on."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig

from verl_vsi.checks.files import row_files
from verl_vsi.checks.problem import Problem

_SHOWN = 3


def check_leakage(config: DictConfig) -> Iterator[Problem]:
    """No row to train on is of a benchmark scene, unless the published data are asked for."""
    if config.vsi.data.published:
        return
    for file in row_files(config, "train_files"):
        scenes = leaked_scenes(file)
        if scenes:
            yield Problem(
                f"{file} holds rows of {len(scenes)} scenes of VSI-Bench ({', '.join(scenes[:_SHOWN])}, ...): a score "
                "on the benchmark would mean little",
                "build the rows again (by default they are left out), or say that you mean it: "
                "ablation=[published_data]",
            )


def leaked_scenes(file: str) -> list[str]:
    """Benchmark scenes in a file of rows; empty where the file can't be read (another check says so)."""
    import pyarrow.lib

    try:
        from verl_vsi.data_adapters import leakage  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        return []
    try:
        return sorted(leakage.benchmark_scenes_in(file))
    except (FileNotFoundError, ValueError, OSError, pyarrow.lib.ArrowInvalid):
        return []
