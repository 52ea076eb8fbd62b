"""The reference's log-probabilities on disk, so that a resumed run need not compute them, and knows whose they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open
from safetensors.torch import save as to_bytes

from verl_vsi.checks.files import row_files
from verl_vsi.data_adapters.files import write_bytes


def identity(config: DictConfig, rows: int) -> str:
    """A digest of all that the numbers depend on: model, rows, prompts, frames, wrong answers."""
    vsi = {key: OmegaConf.to_container(config.vsi[key], resolve=True) for key in ("mode", "frames")}
    files = [row_files(config, key) for key in ("train_files", "val_files")]
    parts = [str(config.vsi.model), config.vsi.seed, vsi, files, rows]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(path: Path, log_probs: torch.Tensor, who: str) -> None:
    """Write (rows, 2) float32 whole, or not at all."""
    write_bytes(path, to_bytes({"log_probs": log_probs.contiguous()}, metadata={"identity": who}))


def load(path: Path, who: str) -> torch.Tensor | None:
    """What was saved for this identity; None where nothing was, or for another."""
    if not path.is_file():
        return None
    with safe_open(str(path), "pt") as file:
        return file.get_tensor("log_probs") if (file.metadata() or {}).get("identity") == who else None
