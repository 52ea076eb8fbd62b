"""This machine: its platform, a video decoded for a trial, its shared memory."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from verl_vsi.cpu.platform_choice import PLATFORM_VARIABLE, Surroundings, choose
from verl_vsi.doctor.check import Check


def platform() -> Iterator[Check]:
    """Which platform verl would train on, and why."""
    choice = choose(Surroundings.here())
    if choice.cpu:
        yield Check("platform", "ok", f"CPU: {choice.why}")
    elif choice.unsure:
        fix = f"to train on this machine's CPU: `ray stop`, then set {PLATFORM_VARIABLE}=cpu"
        yield Check("platform", "warn", f"verl's own choice: {choice.why}", fix)
    else:
        yield Check("platform", "ok", f"verl's own choice: {choice.why}")


CUDA_13_DRIVER = 580
"""The oldest driver that runs CUDA 13, which torch 2.11's wheels are built for."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")


def driver(file: Path = DRIVER_FILE, torch_version: Path | None = None) -> Iterator[Check]:
    """Whether NVIDIA's driver runs the CUDA that torch was built for, without importing torch.

    Args:
        file: where the driver says what it is; nothing is said where there is none.
        torch_version: torch's file of that name; that of the installed one by default.
    """
    torch = find_spec("torch") if torch_version is None else None
    if torch is not None and torch.origin is not None:
        torch_version = Path(torch.origin).with_name("version.py")
    version = re.search(r"(\d+)\.\d[\d.]*", file.read_text()) if file.is_file() else None
    cuda = re.search(r"cuda[^=]*= '(\d+)\.", torch_version.read_text()) if torch_version else None
    if version is None or cuda is None:
        return
    detail = f"{version[0]}, and torch is built for CUDA {cuda[1]}"
    if int(cuda[1]) >= 13 and int(version[1]) < CUDA_13_DRIVER:
        fix = f"a driver of {CUDA_13_DRIVER} or newer, or torch's cu126 build: it and vLLM's from PyTorch's own index"
        yield Check("NVIDIA driver", "fail", f"{detail}, which needs {CUDA_13_DRIVER}", fix)
    else:
        yield Check("NVIDIA driver", "ok", detail)


GREY_LEVELS = (40, 90, 140, 190)
"""Of the four frames of the trial's clip."""


def decoding(decoder: str = "pyav") -> Iterator[Check]:
    """Write a clip of four frames, decode it through the frame store, and compare."""
    import numpy as np

    from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
    from verl_vsi.data_adapters.mp4 import encode_mp4

    frames = [np.full((112, 112, 3), level, np.uint8) for level in GREY_LEVELS]
    spec = FrameSpec("linspace", 4, min_pixels=112 * 112, max_pixels=112 * 112, decoder=decoder)  # pyright: ignore
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        video.write_bytes(encode_mp4(frames))
        try:
            levels = FrameStore(Path(folder) / "frames", spec).frames(video).array.mean(axis=(1, 2, 3))
        except Exception as error:
            fix = "pip install --force-reinstall av, or another vsi.frames.decoder"
            yield Check("video", "fail", f"{decoder}: {type(error).__name__}: {error}", fix)
            return
    if np.abs(levels - GREY_LEVELS).max() > 10:
        yield Check("video", "fail", f"{decoder} gave other pictures than were written", "try another decoder")
    else:
        yield Check("video", "ok", f"{decoder} decodes an mp4")


GIB = 1 << 30
ENOUGH_SHARED_MEMORY = 1 * GIB
"""Ray's object store and vLLM's queues; a container has 64 MB unless started with more."""
LEAST_SHARED_MEMORY = 256 << 20
"""vLLM refuses to start with less."""
MUCH_LEFT_BEHIND = 100 << 20


def shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Check]:
    """Its size, and what killed runs have left in it."""
    if not folder.is_dir():
        return
    space = os.statvfs(folder)
    total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    detail = f"{free / GIB:.1f} GiB free of {total / GIB:.1f}"
    if free < ENOUGH_SHARED_MEMORY:
        status = "fail" if free < LEAST_SHARED_MEMORY else "warn"
        yield Check("shared memory", status, detail, "in a container: docker run --shm-size=8g (or --ipc=host)")
    else:
        yield Check("shared memory", "ok", detail)
    left_behind = sum(file.stat().st_blocks * 512 for file in folder.glob("psm_*"))
    if left_behind > MUCH_LEFT_BEHIND:
        detail = f"{left_behind >> 20} MB in segments named psm_*, which ended runs leave"
        yield Check("shared memory", "warn", detail, f"when no run is going on: rm {folder}/psm_*")
