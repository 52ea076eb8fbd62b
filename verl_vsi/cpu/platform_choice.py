"""Whether this process should use the CPU platform.

By itself only in a run of ours, and where that is safe: no accelerator on this machine, and no Ray cluster that may
have one elsewhere. Inside such a cluster a GPU-less head node or worker would otherwise take another platform than the
nodes that train.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_vsi.run_mark import VARIABLE as RUN_MARK

PLATFORM_VARIABLE = "VERL_PLATFORM"

DRIVER_FILES = (
    "dev/nvidia*",
    "proc/driver/nvidia",
    "usr/lib/wsl/lib/libcuda.so*",  # NVIDIA under WSL has no /dev/nvidia*
    "dev/kfd",  # AMD
    "dev/davinci*",  # Ascend
    "dev/accel/*",  # TPU, Gaudi
    "dev/accel[0-9]*",
    "dev/mxcd",  # MetaX
    "dev/cambricon*",
    "dev/mtgpu*",
    "dev/xpu*",  # Kunlun
)
"""Glob patterns below the root; /dev/dri is not among them, since every laptop's display has it."""

TOOLS = ("nvidia-smi", "rocm-smi", "npu-smi")


NEW_CLUSTER = (None, "", "null", "local")
"""Ray addresses that make a cluster of this machine alone (where none is running on it)."""


@dataclass(frozen=True)
class Surroundings:
    """What the choice looks at; a test injects its own."""

    env: Mapping[str, str]
    argv: Sequence[str]
    root: Path
    modules: Mapping[str, Any]
    which: Callable[[str], str | None]

    @classmethod
    def here(cls) -> Surroundings:
        """This process on this machine."""
        return cls(os.environ, sys.argv, Path("/"), sys.modules, shutil.which)


@dataclass(frozen=True)
class Choice:
    """The outcome and its reason."""

    cpu: bool
    why: str
    unsure: bool = False
    """No accelerator is here, yet one may be elsewhere in the cluster: a person has to say."""
    asked: bool = False
    """A person, or the process that started this one, has said."""


def choose(here: Surroundings) -> Choice:
    """VERL_PLATFORM decides; without it, the CPU in a run of ours with no accelerator and no cluster in sight."""
    asked = here.env.get(PLATFORM_VARIABLE, "").strip().lower()
    if asked:
        return Choice(asked == "cpu", f"{PLATFORM_VARIABLE}={asked}", asked=True)
    if not here.env.get(RUN_MARK, "").strip():
        return Choice(False, "no recipe of ours runs here")
    accelerator = find_accelerator(here)
    if accelerator:
        return Choice(False, f"there is an accelerator ({accelerator})")
    cluster = find_cluster(here)
    if cluster:
        return Choice(False, f"this process belongs to a Ray cluster that may have accelerators ({cluster})", True)
    return Choice(True, "no accelerator and no Ray cluster was found")


def find_accelerator(here: Surroundings) -> str | None:
    """The first sign of an accelerator on this machine."""
    for pattern in DRIVER_FILES:
        found = next(here.root.glob(pattern), None)
        if found is not None:
            return str(found)
    for tool in TOOLS:
        path = here.which(tool)
        if path is not None:
            return path
    return _torch_device(here.modules.get("torch"))


def _torch_device(torch: Any) -> str | None:
    """torch's own view, where torch is imported anyway."""
    for name in ("cuda", "npu", "xpu"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            return f"torch.{name}"
    return None


def find_cluster(here: Surroundings) -> str | None:
    """The first sign that Ray will not be a new one on this machine."""
    address = here.env.get("RAY_ADDRESS", "").strip()
    if address not in NEW_CLUSTER:
        return f"RAY_ADDRESS={address}"
    for argument in here.argv:
        key, _, value = argument.partition("=")
        if key.endswith("ray_init.address") and value not in NEW_CLUSTER:
            return argument
    if "RAY_RAYLET_PID" in here.env:
        return f"a Ray worker started without {PLATFORM_VARIABLE}"
    if _ray_is_connected(here.modules.get("ray")):
        return "Ray was initialised before verl was imported"
    return _running_cluster(here)


def _ray_is_connected(ray: Any) -> bool:
    is_initialized = getattr(ray, "is_initialized", None)
    return is_initialized is not None and is_initialized()


def _running_cluster(here: Surroundings) -> str | None:
    """`ray start` leaves this file, and `ray.init()` without an address joins the cluster it names."""
    folder = here.env.get("RAY_TMPDIR", "").strip() or "/tmp"
    marker = here.root / folder.lstrip("/") / "ray" / "ray_current_cluster"
    return str(marker) if marker.exists() else None
