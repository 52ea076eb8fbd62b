"""What verl gets from the dataset class, checked against what its own path gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

pytest.importorskip("verl")

from verl.utils.tokenizer import build_multimodal_processor_inputs

from verl_vsi.data_adapters.datasets.rl import VsiDataset

PROMPT = "Please provide the short answer with one or two words or a number."


def make_config(root: Path, frames: dict[str, Any] | None = None, **data: Any) -> DictConfig:
    """A trainer's configuration as recipes lay it out: `data.vsi` is an interpolation of the top-level node."""
    small = {"sampler": "qwen", "nframes": 8, "fps": None, "min_pixels": 56 * 56, "max_pixels": 112 * 112}
    vsi = {
        "root": str(root),
        "mode": {"name": "vanilla", "tag": None, "train_prompt": PROMPT, "eval_prompt": "", "format": False},
        "frames": {**small, "decoder": "pyav", "on_error": "raise", "timeout": 60, "store": "${vsi.root}/frames"}
        | (frames or {}),
    }
    node = {"vsi": "${vsi}", "max_prompt_length": 512, "filter_overlong_prompts": True, "cache_dir": str(root / "c")}
    return OmegaConf.create({"vsi": vsi, "data": {**node, **data}})


Make = Callable[..., VsiDataset]


@pytest.fixture
def make(tmp_path: Path, processor: Any, write_video: Any, write_rows: Any) -> Make:
    """``make(rows, frames={...}, **data)``: the dataset over `rows` with video a.mp4 under the root."""
    write_video(tmp_path / "a.mp4")

    def build(rows: list[dict[str, Any]], frames: dict[str, Any] | None = None, **data: Any) -> VsiDataset:
        file = write_rows(tmp_path / "rows.parquet", rows)
        config = make_config(tmp_path, frames, **data)
        return VsiDataset([str(file)], processor.tokenizer, config.data, processor)

    return build


def upstream_video(
    patch: pytest.MonkeyPatch, path: Path, nframes: int, min_pixels: int, max_pixels: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """What qwen_vl_utils returns, its own code but for the file reader.

    No reader of qwen_vl_utils is sure to load here (torchcodec is a CUDA build on some machines, torchvision has
    dropped its own, decord is abandoned), so PyAV decodes every frame in its place.
    """
    from qwen_vl_utils import vision_process

    def read(ele: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any], float]:
        with av.open(str(ele["video"])) as container:
            rate = float(container.streams.video[0].average_rate or 0)
            every = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
        count = vision_process.smart_nframes(ele, len(every), rate)
        indices = torch.linspace(0, len(every) - 1, count).round().long().tolist()
        meta = {"fps": rate, "frames_indices": indices, "total_num_frames": len(every), "video_backend": "pyav"}
        return torch.tensor(every[indices]).permute(0, 3, 1, 2), meta, rate

    patch.setitem(vision_process.VIDEO_READER_BACKENDS, "pyav", read)
    patch.setattr(vision_process, "get_video_reader_backend", lambda: "pyav")
    ele = {"type": "video", "video": str(path), "nframes": nframes}
    ele |= {"min_pixels": min_pixels, "max_pixels": max_pixels}
    return vision_process.fetch_video(ele, return_video_metadata=True)  # pyright: ignore[reportReturnType]


def test_the_model_sees_what_upstreams_path_shows_it(
    make: Make, processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make([{"question": "How big?"}])
    messages = dataset[0]["raw_prompt"]
    _, videos, _ = asyncio.run(VsiDataset.process_multi_modal_info(messages, 14, dataset.config))
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ours = build_multimodal_processor_inputs(processor, text=[text], videos=videos)
    upstream = upstream_video(monkeypatch, tmp_path / "a.mp4", 8, 56 * 56, 112 * 112)
    theirs = build_multimodal_processor_inputs(processor, text=[text], videos=[upstream])
    assert videos is not None
    assert videos[0][1] == upstream[1]
    assert set(ours) == set(theirs)
    for key in theirs:
        assert torch.equal(torch.as_tensor(ours[key]), torch.as_tensor(theirs[key])), key


def test_frames_come_at_the_size_the_processor_keeps(make: Make, processor: Any) -> None:
    dataset = make([{}])
    _, videos, _ = VsiDataset._process_multi_modal_info(dataset[0]["raw_prompt"], 14, dataset.config)
    assert videos is not None
    tensor = videos[0][0]
    unresized = processor.video_processor(videos=[tensor], do_resize=False, return_tensors="pt")
    resized = processor.video_processor(videos=[tensor], do_resize=True, return_tensors="pt")
    assert tensor.dtype == torch.uint8
    assert torch.equal(unresized["pixel_values_videos"], resized["pixel_values_videos"])


def test_fourteen_rollouts_at_once_decode_once_and_share_one_array(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from verl_vsi.data_adapters.frames import FrameStore

    dataset, decodes, whole = make([{}]), [], FrameStore._decode
    monkeypatch.setattr(FrameStore, "_decode", lambda *args: decodes.append(args) or whole(*args))
    messages = dataset[0]["raw_prompt"]

    async def rollouts() -> list[Any]:
        ask = VsiDataset.process_multi_modal_info
        return await asyncio.gather(*(ask(messages, 14, dataset.config) for _ in range(14)))

    pointers = {videos[0][0].data_ptr() for _, videos, _ in asyncio.run(rollouts())}
    assert (len(decodes), len(pointers)) == (1, 1)


def test_the_prompt_is_question_options_and_the_modes_prompt(make: Make) -> None:
    dataset = make([{"question": "Which?", "kind": "choice", "options": ["A. sink", "B. bed"]}, {"question": "Size?"}])
    texts = [dataset[i]["raw_prompt"][0]["content"] for i in (0, 1)]
    assert texts[0][1]["text"] == f"Which?\nOptions:\nA. sink\nB. bed\n{PROMPT}"
    assert texts[1][1]["text"] == f"Size?\n{PROMPT}"
    assert [t["type"] for t in texts[0]] == ["video", "text"]


@pytest.mark.parametrize("frames", [{"nframes": 8}, {"nframes": 5, "sampler": "linspace"}, {"nframes": None, "fps": 2}])
def test_lengths_by_arithmetic_are_the_processors_own(make: Make, processor: Any, frames: dict[str, Any]) -> None:
    dataset = make([{"question": "How big?"}, {"question": "How very big?"}], frames)
    infos = {"a.mp4": dataset_info(dataset)}
    lengths = dataset.prompt_lengths(dataset.dataframe, infos)
    for i, length in enumerate(lengths):
        messages = dataset[i]["raw_prompt"]
        _, videos, _ = VsiDataset._process_multi_modal_info(messages, 14, dataset.config)
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        real = build_multimodal_processor_inputs(processor, text=[text], videos=videos)
        assert length == len(real["input_ids"][0])


def dataset_info(dataset: VsiDataset) -> Any:
    from verl_vsi.data_adapters.datasets.data_settings import open_store

    return open_store(dataset.settings).info(dataset.settings.video("a.mp4"))


def test_building_the_dataset_decodes_nothing(make: Make, tmp_path: Path) -> None:
    make([{}] * 3)
    assert not list((tmp_path / "frames").rglob("*.npy"))


def test_overlong_prompts_are_left_out_and_counted(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make([{"question": "Why? " * 100}, {"question": "Short?"}], max_prompt_length=400)
    assert len(dataset) == 1
    out = capsys.readouterr().out
    assert "1 of 2 prompts are longer than data.max_prompt_length=400" in out
    assert "vsi.frames.max_pixels" in out


def test_an_overlong_prompt_stops_a_run_that_does_not_filter(make: Make) -> None:
    with pytest.raises(ValueError, match=r"1 of 1 prompts are longer.*filter_overlong_prompts=True"):
        make([{"question": "Why? " * 100}], max_prompt_length=400, filter_overlong_prompts=False)


def test_prompts_that_are_all_too_long_stop_the_run(make: Make) -> None:
    with pytest.raises(ValueError, match=r"no row of .* is left"):
        make([{}], max_prompt_length=5)


def test_an_empty_parquet_is_named(make: Make) -> None:
    with pytest.raises(ValueError, match=r"rows\.parquet holds no rows"):
        make([])


def test_a_missing_parquet_is_named(tmp_path: Path, processor: Any) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*none\.parquet; build it"):
        VsiDataset([str(tmp_path / "none.parquet")], processor.tokenizer, make_config(tmp_path).data, processor)


def test_missing_videos_are_counted_and_named(make: Make) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 videos .*\n.*b\.mp4': it does not exist.*data check"):
        make([{"video": "a.mp4"}, {"video": "b.mp4"}, {"video": "b.mp4"}])


def test_skip_leaves_out_the_rows_of_a_broken_video(make: Make, tmp_path: Path, write_video: Any) -> None:
    whole = write_video(tmp_path / "whole.mp4", faststart=True).read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    dataset = make([{"video": "a.mp4"}, {"video": "b.mp4"}], {"on_error": "skip"})
    assert [row["extra_info"]["scene_id"] for row in dataset] == ["a"]  # pyright: ignore


def test_a_path_out_of_the_root_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"'\.\./secret\.mp4' leaves the data root"):
        make([{"video": "../secret.mp4"}])


def test_an_unknown_mode_is_refused(make: Make) -> None:
    config = {"vsi": {"root": "/", "mode": {"name": "ponder", "train_prompt": ""}, "frames": {}}}
    with pytest.raises(ValueError, match=r"'ponder' is unknown; choose mode=vanilla\|think\|observe"):
        make([{}], **config)


def test_a_root_that_is_not_set_says_how(make: Make) -> None:
    with pytest.raises(ValueError, match="VSI_ROOT"):
        make([{}], vsi={"root": None})


def test_a_config_without_data_vsi_says_which_line_is_missing(make: Make) -> None:
    with pytest.raises(ValueError, match=r"data\.vsi: \$\{vsi\}"):
        make([{}], vsi=None)


def test_frames_that_the_processor_would_resize_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"stored frames are 28x28.*resize them to 56x56.*do_resize=False"):
        make([{}], {"min_pixels": 28 * 28, "max_pixels": 28 * 56})


def test_a_model_with_other_patches_is_refused(make: Make) -> None:
    dataset = make([{}])
    with pytest.raises(ValueError, match=r"set \+\+vsi\.frames\.patch_size=16"):
        VsiDataset._process_multi_modal_info(dataset[0]["raw_prompt"], 16, dataset.config)


def test_the_interpolated_node_survives_the_way_to_a_worker(make: Make) -> None:
    import pickle

    dataset = make([{}])
    config = pickle.loads(pickle.dumps(dataset.config))
    _, videos, _ = VsiDataset._process_multi_modal_info(dataset[0]["raw_prompt"], 14, config)
    assert videos is not None
