"""Tiny models of each family, a process group of one, and engines over both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

import torch
from vsi_support.engines import fsdp_engine, process_group
from vsi_support.random_models import QWEN2_VL, Family


@pytest.fixture(scope="module", autouse=True)
def every_module_leaves_transformers_alone(untouched_transformers: None) -> None:
    """All of these tests make engines of verl's."""


@pytest.fixture(scope="session")
def group() -> Iterator[None]:
    """A process group of this process alone."""
    torch.set_num_threads(1)
    with process_group():
        yield


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], Path]:
    """The tiny model of a family."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU

    @cache
    def folder_of(family: Family) -> Path:
        folder = tmp_path_factory.mktemp(family.name)
        family.random_model().save_pretrained(folder)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def model_folder(folder_of: Callable[[Family], Path]) -> Path:
    """The tiny Qwen2-VL."""
    return folder_of(QWEN2_VL)


@pytest.fixture(scope="session")
def make_engine(group: None, model_folder: Path) -> Callable[..., Any]:
    """Build our engine over the tiny Qwen2-VL, or verl's (`UPSTREAM`)."""
    return partial(fsdp_engine, model_folder)
