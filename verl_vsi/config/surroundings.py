"""What a run depends on beside its settings: the shell it was started in, its source, its model, its machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from verl_vsi.config.checkpoints import RECORD_VARIABLE
from verl_vsi.config.secret_values import MASK, is_secret_variable, mask_text
from verl_vsi.config.trainers import option_words
from verl_vsi.config.weights import weights_sha256
from verl_vsi.run_mark import VARIABLE as RUN_VARIABLE

PREFIXES = ("VSI_", "VERL_", "VLLM_", "RAY_", "OMP_", "HF_", "NCCL_", "PYTORCH_", "TRANSFORMERS_")
NAMES = ("PYTHONPATH", "PYTHONHASHSEED", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_CACHE_DIR")
"""Environment variables, or how their names begin, that a run may depend on."""
OWN = (RECORD_VARIABLE, RUN_VARIABLE, "VERL_FILE_LOGGER_PATH")
"""Variables that every start sets anew."""
CONFIG_WORDS = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")
"""Hydra's options that say where configs are."""
ROOT = Path(__file__).resolve().parents[2]
"""Folder that holds the package: a checkout, or site-packages."""
_PATIENCE = 20
"""Seconds that git or nvidia-smi may take."""


def shell(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What a new shell needs for the same command.

    Args:
        argv: this process's words, the program's name first.
        env: its environment.

    Returns:
        ``directory``, ``python`` (the interpreter's folder), ``config_words``, ``processes`` of torchrun on this node,
        and ``environment``, secrets masked.
    """
    relevant = sorted(name for name in env if (name.startswith(PREFIXES) or name in NAMES) and name not in OWN)
    return {
        "directory": os.getcwd(),
        "python": str(Path(sys.executable).parent),
        "config_words": config_words(argv[1:]),
        "processes": int(env.get("LOCAL_WORLD_SIZE", "1")),
        "environment": {name: MASK if is_secret_variable(name) else mask_text(env[name], env) for name in relevant},
    }


def config_words(words: Sequence[str]) -> list[str]:
    """Of a command's words those that tell Hydra where configs are."""
    return [word for option, _ in option_words(words, CONFIG_WORDS) for word in option]


def source(root: Path = ROOT) -> dict[str, Any]:
    """Which state of our code runs: a checkout's commit and the digest of what differs from it, or the wheel's.

    Args:
        root: the folder that holds the package.
    """
    if (root / ".git").exists():
        commit, changes = _output("git", "-C", str(root), "rev-parse", "HEAD"), _git_changes(root)
        return {"commit": commit.strip(), "changes_sha256": sha256(changes.encode()).hexdigest() if changes else None}
    with suppress(PackageNotFoundError):
        listing = distribution("verl-vsi").read_text("RECORD")
        if listing:
            return {"record_sha256": sha256(listing.encode()).hexdigest()}
    return {}


def _git_changes(root: Path) -> str:
    """What differs from the commit, new files by name."""
    git = ("git", "-C", str(root))
    return _output(*git, "diff", "HEAD") + _output(*git, "ls-files", "--others", "--exclude-standard")


def model(name: str) -> dict[str, Any]:
    """Which weights a run starts from: a digest of a folder's, or the revision that the hub's cache holds.

    Args:
        name: a folder, or a name on the hub.
    """
    if Path(name).is_dir():
        return {"name": name, "sha256": weights_sha256(Path(name))}
    default = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    cache = Path(os.environ.get("HF_HUB_CACHE") or default) / f"models--{name.replace('/', '--')}"
    with suppress(OSError):
        return {"name": name, "revision": (cache / "refs" / "main").read_text().strip()}
    return {"name": name, "revision": None}  # not in the cache yet


def machine() -> dict[str, Any]:
    """Cores, memory and GPUs. The host's name is digested: records travel with published checkpoints."""
    gpus = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return {
        "host_sha256": sha256(platform.node().encode()).hexdigest()[:12],
        "system": f"{platform.system()} {platform.release()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _output(*gpus).splitlines() if shutil.which(gpus[0]) else [],
    }


def _output(*command: str) -> str:
    """What a program prints; empty where it fails: a record is no reason to stop a run."""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=_PATIENCE
        ).stdout
    return ""
