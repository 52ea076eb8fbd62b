"""What must lie on disk: the data root, the rows; and what must not: scenes of the benchmark in the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from verl_vsi.config.access import row_files
from verl_vsi.config.problems import Problem

_SHOWN = 3


def check_root(config: DictConfig) -> Iterator[Problem]:
    """`vsi.root` is set and is a folder."""
    root = config.vsi.root
    fix = (
        "export VSI_ROOT=/path/to/data (or add vsi.root=/path/to/data to the command): the folder that holds the "
        "videos, the rows and the frames. Without any data, `verl-vsi miniature` renders some"
    )
    if not root:
        yield Problem("vsi.root is not set, so there is no data", fix)
    elif not Path(root).expanduser().is_dir():
        yield Problem(f"vsi.root={root} is not a folder", fix)


def check_rows(config: DictConfig) -> Iterator[Problem]:
    """The rows to train on and to validate on are there (said only where the root is)."""
    if not config.vsi.root or not Path(config.vsi.root).expanduser().is_dir():
        return
    from verl_vsi.data_adapters.datasets.data_settings import check_files

    for key in ("train_files", "val_files"):
        try:
            check_files(row_files(config, key))
        except ValueError as error:
            node = "vsi.data." + key.removesuffix("_files")
            yield Problem(f"data.{key}: {error}", f"build the rows, or set {node}=/path/to/rows.parquet")


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
