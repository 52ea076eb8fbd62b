"""Prompts of Qwen3-VL as verl hands them to vLLM."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("verl")  # opens our plug-in

from verl.utils import hf_processor
from verl.utils.tokenizer import build_multimodal_processor_inputs
from verl.workers.rollout.utils import qwen2_5_vl_dedup_image_tokens
from vsi_support.model_folders import write_model_folder

VIDEO, IMAGE = (f"<|vision_start|><|{kind}_pad|><|vision_end|>" for kind in ("video", "image"))
TEXTS = {
    "a video": f"look {VIDEO} and?",
    "two videos side by side": f"{VIDEO}{VIDEO}and?",
    "a video between images": f"{IMAGE}{VIDEO}then{IMAGE}",
    "an image": f"a {IMAGE} b",
    "text": "no more",
}


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def processor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return hf_processor(str(write_model_folder(request.param, tmp_path_factory.mktemp("model"))))


def expanded(processor: Any, text: str) -> list[int]:
    """The prompt as the processor expands it, videos of six frames."""
    from PIL import Image

    metadata = {"fps": 24.0, "frames_indices": [0, 9, 18, 27, 36, 45], "total_num_frames": 54}
    videos = [(torch.zeros((6, 3, 64, 96), dtype=torch.uint8), metadata)] * text.count("video_pad")
    images = [Image.new("RGB", (96, 64))] * text.count("image_pad")
    inputs = build_multimodal_processor_inputs(processor, text=[text], videos=videos or None, images=images or None)
    return inputs["input_ids"][0].tolist()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_vllm_gets_the_prompt_as_it_was_written(processor: Any, text: str) -> None:
    assert qwen2_5_vl_dedup_image_tokens(expanded(processor, text), processor) == processor.tokenizer(text)["input_ids"]


def test_upstream_leaves_a_placeholder_a_frame_pair(processor: Any) -> None:
    """The day that this fails for Qwen3-VL, verl sends whole videos: take the patch out."""
    upstream = qwen2_5_vl_dedup_image_tokens.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    left = upstream(expanded(processor, TEXTS["a video"]), processor).count(processor.video_token_id)
    assert left == (3 if type(processor).__name__ == "Qwen3VLProcessor" else 1)
