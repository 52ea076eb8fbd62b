from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from verl_vsi.dpo import dpo_trainer
from verl_vsi.dpo.dpo_trainer import DPOTrainer, load_reference, reference_identity, save_reference


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


class CutTrainer(DPOTrainer):
    """A rank of one whose passes give a row's number back, until the power fails."""

    def __init__(self, passes: int) -> None:
        self.engine: Any = SimpleNamespace(get_data_parallel_rank=lambda: 0, get_data_parallel_size=lambda: 1)
        self.config: Any = OmegaConf.create({"data": {"micro_batch_size_per_gpu": 4, "num_workers": 2}})
        self.rank, self.passes, self.rows = 0, passes, []
        self.collate_fn: Any = torch.tensor

    def _log_probs(self, batch: Any) -> torch.Tensor:
        if len(self.rows) == self.passes:
            raise KeyboardInterrupt
        self.rows.append(batch.tolist())
        return torch.stack((-1.0 - batch, -2.0 - batch), 1)


def test_a_cut_computation_goes_on_where_it_last_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpo_trainer, "BATCHES_A_SAVE", 3)
    dataset: Any = [*range(15)]  # 8 batches of two, the last row twice
    path = tmp_path / "train.safetensors"
    with pytest.raises(KeyboardInterrupt):
        CutTrainer(passes=5)._compute_reference(path, "a", dataset)
    again = CutTrainer(passes=100)
    log_probs = again._compute_reference(path, "a", dataset)
    assert again.rows == [[6, 7], [8, 9], [10, 11], [12, 13], [14, 14]]
    assert torch.equal(log_probs, torch.stack((-1.0 - torch.arange(15), -2.0 - torch.arange(15)), 1))
    assert list(tmp_path.iterdir()) == []
    other = CutTrainer(passes=100)
    other._compute_reference(path, "b", dataset)
    assert len(other.rows) == 8
