"""A tiny Qwen2-VL, a process group of one, and engines over both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

import torch
from vsi_support.engines import fsdp_engine, process_group
from vsi_support.random_qwen2_vl import Sizes, random_model


@pytest.fixture(scope="module", autouse=True)
def untouched_transformers() -> Iterator[None]:
    """verl replaces forwards of transformers' classes for the whole process: other tests want them as they were."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU
    from transformers.models.qwen2_vl import modeling_qwen2_vl as module

    classes = (module.Qwen2VLModel, module.Qwen2VLForConditionalGeneration, module.Qwen2VLAttention)
    forwards = [vars(c)["forward"] for c in classes]
    yield
    for patched, forward in zip(classes, forwards, strict=True):
        patched.forward = forward


@pytest.fixture(scope="session")
def group() -> Iterator[None]:
    """A process group of this process alone."""
    torch.set_num_threads(1)
    with process_group():
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU

    folder = tmp_path_factory.mktemp("model")
    random_model(Sizes()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_engine(group: None, model_folder: Path) -> Callable[..., Any]:
    """Build our engine over the tiny model, or verl's (`UPSTREAM`)."""
    return partial(fsdp_engine, model_folder)
