"""Rows as verl's SFT trainer takes them, checked against the processor and against GRPO's prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

pytest.importorskip("verl")

from verl.utils.dataset.dataset_utils import SFTTensorCollator

from verl_vsi.data_adapters.datasets.rl import VsiDataset
from verl_vsi.data_adapters.datasets.sft import VsiSFTDataset

Make = Callable[..., VsiSFTDataset]


def make_config(root: Path, mode: str, **data: Any) -> DictConfig:
    frames = {"sampler": "linspace", "nframes": 4, "min_pixels": 56 * 56, "max_pixels": 112 * 112}
    vsi = {"root": str(root), "mode": {"name": mode, "train_prompt": "Short."}, "frames": frames}
    node = {"vsi": "${vsi}", "max_length": 512, "pad_mode": "no_padding", "cache_dir": str(root / "c")}
    return OmegaConf.create({"vsi": vsi, "data": {**node, **data}})


@pytest.fixture
def make(tmp_path: Path, processor: Any, write_video: Any, write_rows: Any) -> Make:
    def build(mode: str = "vanilla", **data: Any) -> VsiSFTDataset:
        for i, name in enumerate("ab"):
            write_video(tmp_path / f"{name}.mp4", seed=i)
        rows = [{"answer": "6.1"}, {"question": "Which?", "answer": "left", "video": "b.mp4"}]
        file = write_rows(tmp_path / "rows.parquet", rows)
        config = make_config(tmp_path, mode, **data)
        return VsiSFTDataset(str(file), processor.tokenizer, config.data, processor)

    return build


def test_an_example_is_the_whole_chat_as_the_processor_reads_it(make: Make, processor: Any) -> None:
    dataset = make()
    messages = VsiDataset.__getitem__(dataset, 1)["raw_prompt"]
    _, videos, _ = VsiDataset._process_multi_modal_info(messages, 14, dataset.config)
    assert videos is not None
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + "left<|im_end|>"
    whole = processor(text=[text], videos=[videos[0][0]], do_sample_frames=False, return_tensors="pt")
    example = dataset[1]
    assert torch.equal(example["input_ids"], whole["input_ids"][0])
    for key in ("pixel_values_videos", "video_grid_thw"):
        assert torch.equal(example["multi_modal_inputs"][key], whole[key])


def test_positions_are_those_that_verl_gives_a_rollout(make: Make, processor: Any) -> None:
    example = make()[0]
    ids = example["input_ids"][None]
    grid = example["multi_modal_inputs"]["video_grid_thw"]
    kinds = torch.where(ids == processor.video_token_id, 2, 0).int()
    expected, _ = processor.get_rope_index(
        input_ids=ids, video_grid_thw=grid, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds
    )
    assert torch.equal(example["position_ids"][1:], expected[:, 0])
    assert torch.equal(example["position_ids"][0], torch.arange(ids.shape[1]))


@pytest.mark.parametrize(
    ("mode", "learned"), [("vanilla", "6.1<|im_end|>"), ("think", "<answer>6.1</answer><|im_end|>")]
)
def test_the_loss_falls_on_the_answer_and_its_end(make: Make, processor: Any, mode: str, learned: str) -> None:
    example = make(mode)[0]
    assert processor.tokenizer.decode(example["input_ids"][example["loss_mask"] == 1]) == learned


def test_a_batch_of_different_lengths_collates_as_verl_collates(make: Make) -> None:
    dataset = make()
    batch = SFTTensorCollator("no_padding")([dataset[0], dataset[1]])  # pyright: ignore[reportArgumentType]
    assert batch["input_ids"].is_nested
    assert batch["position_ids"].values().shape == (4, batch["input_ids"].values().shape[0])


def test_prompt_and_answer_count_against_max_length(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = [len(make()[i]["input_ids"]) for i in (0, 1)]
    dataset = make(max_length=min(lengths))
    assert len(dataset) == 1
    assert f"1 of 2 prompts are longer than data.max_length={min(lengths)}" in capsys.readouterr().out


def test_padding_is_refused_with_the_setting_to_change(make: Make) -> None:
    with pytest.raises(ValueError, match=r"data\.pad_mode is right.*set no_padding"):
        make(pad_mode="right")
