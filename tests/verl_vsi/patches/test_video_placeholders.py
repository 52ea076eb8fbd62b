"""Prompts of Qwen3-VL as verl hands them to vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("verl")  # opens our plug-in

from verl.utils import hf_processor
from verl.utils.tokenizer import build_multimodal_processor_inputs
from verl.workers.rollout.utils import qwen2_5_vl_dedup_image_tokens
from vsi_support.model_folders import write_model_folder

from verl_vsi.patches.video_placeholders import collapsed

VIDEO, IMAGE = (f"<|vision_start|><|{kind}_pad|><|vision_end|>" for kind in ("video", "image"))
TEXTS = {
    "a video": f"look {VIDEO} and?",
    "two videos side by side": f"{VIDEO}{VIDEO}and?",
    "a video between images": f"{IMAGE}{VIDEO}then{IMAGE}",
    "an image": f"a {IMAGE} b",
    "text": "no more",
}


METADATA = {"fps": 24.0, "frames_indices": [0, 9, 18, 27, 36, 45], "total_num_frames": 54}


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def processor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return hf_processor(str(write_model_folder(request.param, tmp_path_factory.mktemp("model"))))


def expanded(processor: Any, text: str) -> list[int]:
    """The prompt as the processor expands it, videos of six frames."""
    from PIL import Image

    videos = [(torch.zeros((6, 3, 64, 96), dtype=torch.uint8), METADATA)] * text.count("video_pad")
    images = [Image.new("RGB", (96, 64))] * text.count("image_pad")
    inputs = build_multimodal_processor_inputs(processor, text=[text], videos=videos or None, images=images or None)
    return inputs["input_ids"][0].tolist()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_vllm_gets_the_prompt_as_it_was_written(processor: Any, text: str) -> None:
    """But for markers around a video that an older vLLM would replace."""
    sent = qwen2_5_vl_dedup_image_tokens(expanded(processor, text), processor)
    sent = processor.tokenizer.decode(sent).replace("<|vision_start|>" * 2, "<|vision_start|>")
    assert sent.replace("<|vision_end|>" * 2, "<|vision_end|>") == text


def test_upstream_leaves_a_placeholder_a_frame_pair(processor: Any) -> None:
    """The day that this fails for Qwen3-VL, verl sends whole videos: take the patch out."""
    upstream = qwen2_5_vl_dedup_image_tokens.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    left = upstream(expanded(processor, TEXTS["a video"]), processor).count(processor.video_token_id)
    assert left == (3 if type(processor).__name__ == "Qwen3VLProcessor" else 1)


PAIR = "<{} seconds><|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
WITHOUT_MARKERS = [
    ("a video", f"look {PAIR.format(0.2)}{PAIR.format(1.0)} and?", f"look {VIDEO} and?"),
    ("times fall: two videos", f"{PAIR.format(0.2)}{PAIR.format(1.0)}{PAIR.format(0.2)}?", f"{VIDEO}{VIDEO}?"),
    ("text between: two videos", f"{PAIR.format(0.2)}then{PAIR.format(1.0)}?", f"{VIDEO}then{VIDEO}?"),
    ("an image stays", f"{IMAGE}{PAIR.format(0.2)}{IMAGE}", f"{IMAGE}{VIDEO}{IMAGE}"),
    ("a time that nothing follows stays", "at <0.2 seconds> it", "at <0.2 seconds> it"),
]


FRAMES_WITH_TIMES = pytest.mark.parametrize("processor", ["qwen3_vl", "qwen3_5"], indirect=True)


@FRAMES_WITH_TIMES
@pytest.mark.parametrize(("case", "written", "expected"), WITHOUT_MARKERS)
def test_videos_are_found_as_transformers_before_5_10_writes_them(
    processor: Any, case: str, written: str, expected: str
) -> None:
    ids = processor.tokenizer(written)["input_ids"]
    assert qwen2_5_vl_dedup_image_tokens(ids, processor) == processor.tokenizer(expected)["input_ids"], case


def test_markers_stay_for_a_vllm_that_replaces_them() -> None:
    """S S V E E for vLLM before 0.26, which puts times and frame pairs in the place of S V E."""
    ids = [7, 1, 50, 1, 9, 9, 2, 51, 1, 9, 9, 2, 2, 8]
    assert collapsed(ids, 9, 1, 2) == [7, 1, 9, 2, 8]
    assert collapsed(ids, 9, 1, 2, keep_markers=True) == [7, 1, 1, 9, 2, 2, 8]


@FRAMES_WITH_TIMES
def test_vllm_reads_the_prompt_of_the_actor(processor: Any) -> None:
    """The installed vLLM and transformers, whichever they are."""
    from vsi_support.vllm_reading import VllmReader

    actor = expanded(processor, TEXTS["a video"])
    frames = (torch.zeros((6, 3, 64, 96), dtype=torch.uint8).numpy(), METADATA | {"do_sample_frames": False})
    reader = VllmReader(Path(processor.tokenizer.name_or_path))
    assert reader.read(qwen2_5_vl_dedup_image_tokens(actor, processor), [frames])[0] == actor
