"""Pairs as the DPO trainer takes them: one prompt, two answers, checked against the SFT examples of the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

pytest.importorskip("verl")

from verl_vsi.data_adapters.datasets.dpo import VsiDPODataset, flatten_pairs
from verl_vsi.data_adapters.datasets.sft import VsiSFTDataset

Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, processor: Any, write_video: Any, write_rows: Any) -> Make:
    frames = {"sampler": "linspace", "nframes": 4, "min_pixels": 56 * 56, "max_pixels": 112 * 112}
    vsi = {"root": str(tmp_path), "seed": 1, "mode": {"name": "vanilla", "train_prompt": "Short."}, "frames": frames}
    node = {"vsi": "${vsi}", "max_length": 512, "pad_mode": "no_padding", "cache_dir": str(tmp_path / "c")}
    config = OmegaConf.create({"vsi": vsi, "data": node})
    for i, name in enumerate("ab"):
        write_video(tmp_path / f"{name}.mp4", seed=i)
    wordy = {"question": "To the left or the right?", "answer": "left", "video": "b.mp4", "kind": "word"}
    file = write_rows(tmp_path / "rows.parquet", [{"answer": "6.1"}, wordy])
    return lambda cls=VsiDPODataset: cls(str(file), processor.tokenizer, config.data, processor)


def answer(example: dict[str, Any], processor: Any) -> str:
    return processor.tokenizer.decode(example["input_ids"][example["loss_mask"].bool()])


def test_the_chosen_example_is_sfts_and_the_rejected_one_differs_in_its_answer(make: Make, processor: Any) -> None:
    for item, sft in enumerate(make(VsiSFTDataset)):
        chosen, rejected = make()[item]["pair"]
        assert torch.equal(chosen["input_ids"], sft["input_ids"])
        prompt = int((sft["loss_mask"] == 0).sum())
        assert torch.equal(chosen["input_ids"][:prompt], rejected["input_ids"][:prompt])
        assert answer(chosen, processor) != answer(rejected, processor)
        assert torch.equal(
            chosen["multi_modal_inputs"]["pixel_values_videos"], rejected["multi_modal_inputs"]["pixel_values_videos"]
        )
        assert rejected["position_ids"].shape == (4, len(rejected["input_ids"]))


def test_left_is_rejected_as_right(make: Make, processor: Any) -> None:
    chosen, rejected = make()[1]["pair"]
    assert answer(chosen, processor).startswith("left")
    assert answer(rejected, processor).startswith("right")


def test_each_answer_carries_its_own_reference(make: Make) -> None:
    dataset = make()
    assert "reference" not in dataset[0]["pair"][0]
    dataset.reference = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    assert [example["reference"].tolist() for example in dataset[1]["pair"]] == [[-3.0], [-4.0]]


def test_a_batch_keeps_pairs_together(make: Make) -> None:
    dataset = make()
    dataset.reference = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    flat = list(flatten_pairs([dataset[1], dataset[0]]))
    assert [example["reference"].item() for example in flat] == [-3.0, -4.0, -1.0, -2.0]
