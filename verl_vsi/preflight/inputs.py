"""What must lie on disk: the data root, the rows, the model."""

from __future__ import annotations

import os
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


def check_model(config: DictConfig) -> Iterator[Problem]:
    """A model given as a path is a Hugging Face folder; one given by name can be fetched or is in the cache."""
    model = str(config.vsi.model)
    folder = Path(model).expanduser()
    if folder.is_absolute() or model.startswith((".", "~")) or folder.exists():
        if not (folder / "config.json").is_file():
            yield Problem(
                f"vsi.model={model} is no Hugging Face folder: it has no config.json",
                "set vsi.model to a folder that transformers loads, or to a name on the hub",
            )
    elif _offline() and not _cached(model):
        yield Problem(
            f"vsi.model={model} is not in the Hugging Face cache, and HF_HUB_OFFLINE forbids to fetch it",
            f"`hf download {model}` where there is a network, or vsi.model=/path/to/folder",
        )


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _cached(model: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "config.json"), str)
