"""What must lie on disk: the data root, the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from verl_vsi.config.access import row_files
from verl_vsi.config.problems import Problem


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
