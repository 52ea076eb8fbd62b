"""Scenes of the benchmark, or ScanNet val scans (which hold them), among the scenes to train on."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig

from verl_vsi.checks.files import row_files
from verl_vsi.checks.problem import Problem

_SHOWN = 3


def check_leakage(config: DictConfig) -> Iterator[Problem]:
    """No row to train on is of a scene that would leak, unless the published data are asked for."""
    if config.vsi.data.published:
        return
    for file in row_files(config, "train_files"):
        scenes = leaked_scenes(file)
        if scenes:
            more = ", ..." if len(scenes) > _SHOWN else ""
            yield Problem(
                f"{file} holds rows of {len(scenes)} scenes that would leak into a score on VSI-Bench "
                f"({', '.join(f'{scene}: {why}' for scene, why in list(scenes.items())[:_SHOWN])}{more})",
                "build the rows again (`verl-vsi data build` leaves such scenes out), or say that you mean it: "
                "ablation=[published_data]",
            )


def leaked_scenes(file: str) -> dict[str, str]:
    """Scene -> why it would leak; empty where the file can't be read or has no scenes (another check says so)."""
    import pyarrow.lib
    import pyarrow.parquet as pq

    from verl_vsi.data_adapters.leakage import leak

    try:
        table = pq.read_table(file, columns=["extra_info.scene_id"])
    except (OSError, pyarrow.lib.ArrowInvalid):
        return {}
    names = set(table.column(0).to_pylist()) if table.num_columns else set()
    return {name: why for name in sorted(filter(None, names)) if (why := leak(name))}
