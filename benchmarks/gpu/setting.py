"""The device, the models, the engines and the clock that all pieces share."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from passes_costs import SHAPES, Shape
from passes_setup import make_engine, save_model
from vsi_support.live_memory import LiveMemory
from vsi_support.random_models import QWEN2_VL

from verl_vsi import run_mark

Case = dict[str, Any]
"""What tells one measurement from another, or its figures."""

FAMILY = QWEN2_VL


@dataclass(frozen=True)
class Setting:
    """Where it runs, on which sizes of Qwen2-VL.

    Attributes:
        device: cuda or cpu.
        sizes: names of `passes_costs.SHAPES`.
        folder: of the models, which are kept, and of the videos.
    """

    device: str
    sizes: tuple[str, ...]
    folder: Path
    _engines: dict[Hashable, Any] = field(default_factory=dict, compare=False)

    @property
    def tiny(self) -> bool:
        """Whether this only shows that a piece runs."""
        return self.sizes == ("tiny",)

    @property
    def dtype(self) -> str:
        """Of the weights, as verl names it; a CPU has no bfloat16 worth measuring."""
        return "fp32" if self.device == "cpu" else "bf16"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The same, as torch names it."""
        return torch.float32 if self.device == "cpu" else torch.bfloat16

    def shape(self, size: str) -> Shape:
        """Sizes of the model."""
        return SHAPES[FAMILY.name][size]

    def model(self, size: str) -> Path:
        """Folder of the model, made at its first use."""
        folder = self.folder / size
        if not folder.exists():
            unfinished = self.folder / f"{size}.part"
            save_model(FAMILY.name, self.shape(size), self.torch_dtype, unfinished, device=self.device)
            unfinished.rename(folder)
        return folder

    def engine(self, kind: str, size: str, **settings: Any) -> Any:
        """verl's engine or ours, with what verl's does best here: flash-attn and packed rows where that is installed.

        Args:
            kind: one of `passes_costs.KINDS`.
            size: of the model.
            settings: others of `fsdp_engine`.
        """
        settings = {"dtype": self.dtype, **settings}
        if kind == "stock" and settings["dtype"] == "bf16" and find_spec("flash_attn") is not None:
            settings |= {"attention": "flash_attention_2", "use_remove_padding": True}
        return make_engine(kind, FAMILY, self.model(size), self.device, **settings)

    def only(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, kept until another key is asked for: a card has room for one large model.

        Args:
            key: of what is wanted.
            make: makes it.
        """
        if key not in self._engines:
            self._engines.clear()
            gc.collect()
            if self.device == "cuda":
                torch.cuda.empty_cache()
            self._engines[key] = make()
        return self._engines[key]


def start(device: str) -> str:
    """A process group of this process alone; the device's name."""
    if device == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
        torch.set_num_threads(2)
    run_mark.mark("benchmarks")
    import verl  # noqa: F401  (loads our plug-in, which registers our engine in a run of ours)

    backend = "cpu:gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def clock(run: Callable[[], Any], device: str) -> float:
    """Seconds.

    Args:
        run: what is timed.
        device: cpu or cuda.
    """
    _wait(device)
    before = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - before


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak(run: Callable[[], Any], device: str) -> int:
    """Bytes of tensors at the most, above those at the start.

    Args:
        run: what is measured.
        device: cpu or cuda.
    """
    if device == "cpu":
        with LiveMemory() as memory:
            run()
        return memory.peak
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
