"""Each model family's rows as its own processor reads them: prompts, lengths, pixels, seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

pytest.importorskip("verl")

from verl.utils import hf_processor
from verl.utils.tokenizer import build_multimodal_processor_inputs
from vsi_support.model_folders import FAMILIES, write_model_folder

from verl_vsi.data_adapters.datasets.dpo import VsiDPODataset
from verl_vsi.data_adapters.datasets.rl import VsiDataset

FRAMES = {
    "an even number": {"sampler": "qwen", "nframes": 8},
    "an odd number": {"sampler": "linspace", "nframes": 5},
}


@pytest.fixture(scope="module", params=FAMILIES)
def processor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return hf_processor(str(write_model_folder(request.param, tmp_path_factory.mktemp(request.param))))


Make = Callable[..., VsiDPODataset]


@pytest.fixture
def make(tmp_path: Path, processor: Any, write_video: Any, write_rows: Any) -> Make:
    """Two rows about videos of other sizes and rates; a DPO dataset is an SFT dataset with a second answer."""

    def build(frames: dict[str, Any], **data: Any) -> VsiDPODataset:
        write_video(tmp_path / "a.mp4")
        write_video(tmp_path / "b.mp4", frames=61, fps=30, size=(128, 160))
        file = write_rows(tmp_path / "rows.parquet", [{}, {"question": "How far?", "answer": "6.1", "video": "b.mp4"}])
        side = processor.video_processor.patch_size * 2
        sizes = {"min_pixels": side**2, "max_pixels": 16 * side**2, "patch_size": side // 2}
        mode = {"name": "vanilla", "train_prompt": "Short."}
        vsi = {"root": str(tmp_path), "mode": mode, "frames": {**frames, **sizes}}
        node = {"vsi": "${vsi}", "max_length": 2048, "pad_mode": "no_padding", "cache_dir": str(tmp_path / "c")}
        # stored frames are small here, and the published processors take them from 128 tokens on
        node["mm_processor_kwargs"] = {"do_resize": False}
        config = OmegaConf.create({"vsi": vsi, "data": {**node, **data}})
        return VsiDPODataset(str(file), processor.tokenizer, config.data, processor)  # pyright: ignore[reportReturnType]

    return build


def read_by_the_processor(dataset: VsiDPODataset, processor: Any, row: int) -> dict[str, Any]:
    """A row's prompt as verl's agent loop has it read."""
    messages = VsiDataset.__getitem__(dataset, row)["raw_prompt"]
    patch = processor.video_processor.patch_size
    _, videos, _ = VsiDataset._process_multi_modal_info(messages, patch, dataset.config)
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    options = dataset.mm_processor_kwargs
    return build_multimodal_processor_inputs(processor, text=[text], videos=videos, mm_processor_kwargs=options)


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("row", [0, 1])
def test_sft_and_dpo_show_what_the_rollout_shows(make: Make, processor: Any, frames: dict[str, Any], row: int) -> None:
    dataset = make(frames)
    whole = read_by_the_processor(dataset, processor, row)
    for example in dataset[row]["pair"]:
        prompt = example["input_ids"][example["loss_mask"] == 0]
        assert torch.equal(prompt, whole["input_ids"][0])
        for key in ("pixel_values_videos", "video_grid_thw", "second_per_grid_ts"):
            assert (key in whole) == (key in example["multi_modal_inputs"])
            assert key not in whole or torch.equal(example["multi_modal_inputs"][key], whole[key])


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_lengths_by_arithmetic_are_those_of_the_processor(make: Make, processor: Any, frames: dict[str, Any]) -> None:
    dataset = make(frames)
    infos = {name: dataset._info(name) for name in ("a.mp4", "b.mp4")}
    read = [len(read_by_the_processor(dataset, processor, row)["input_ids"][0]) for row in (0, 1)]
    assert VsiDataset.prompt_lengths(dataset, dataset.dataframe, infos) == read


def test_frames_for_other_patches_are_refused(make: Make, processor: Any) -> None:
    dataset = make(FRAMES["an even number"])
    messages = VsiDataset.__getitem__(dataset, 0)["raw_prompt"]
    with pytest.raises(ValueError, match=r"set \+\+vsi\.frames\.patch_size=32"):
        VsiDataset._process_multi_modal_info(messages, 32, dataset.config)
