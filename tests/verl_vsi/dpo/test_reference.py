from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import OmegaConf

from verl_vsi.dpo.dpo_trainer import load_reference, reference_identity, save_reference


def test_saved_numbers_come_back_for_the_same_run_only(tmp_path: Path) -> None:
    path, log_probs = tmp_path / "train.safetensors", torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    assert load_reference(path, "a") is None
    save_reference(path, log_probs, "a")
    assert load_reference(path, "a") is not None
    assert torch.equal(load_reference(path, "a"), log_probs)  # pyright: ignore
    assert load_reference(path, "b") is None


def test_identity_follows_what_the_numbers_depend_on() -> None:
    config = OmegaConf.create(
        {
            "vsi": {"model": "m", "seed": 1, "mode": {"name": "think"}, "frames": {"nframes": 4}, "dpo": {"beta": 0.1}},
            "data": {"train_files": "a.parquet", "val_files": None},
        }
    )
    first = reference_identity(config, 10)
    config.vsi.dpo.beta = 0.2
    assert reference_identity(config, 10) == first
    assert reference_identity(config, 11) != first
    config.vsi.model = "n"
    assert reference_identity(config, 10) != first
