"""Rotary positions against literal ones, against transformers where it is right, and against vLLM's own code."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from vsi_support.model_folders import FAMILIES, write_model_folder

from verl_vsi.data_adapters.positions import PositionRule, mrope_positions, with_text_positions

IMAGE, VIDEO, START, END = 102, 103, 100, 101


def config(family: str) -> Any:
    vision = SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
    return SimpleNamespace(model_type=family, image_token_id=IMAGE, video_token_id=VIDEO, vision_config=vision)


def rule_of(family: str) -> PositionRule:
    rule = PositionRule.of(config(family))
    assert rule is not None
    return rule


def count(family: str, ids: list[int], grids: list[tuple[int, int, int]], seconds: list[float] | None = None) -> Any:
    vision = {"video_grid_thw": torch.tensor(grids).reshape(-1, 3), "second_per_grid_ts": seconds}
    return mrope_positions(torch.tensor([ids]), rule_of(family), vision)[:, 0].tolist()


V = VIDEO
LITERAL: dict[str, tuple[Any, ...]] = {
    "Qwen2-VL: time, rows and columns, then on": (
        ("qwen2_vl", [1, V, V, V, V, 2], [(2, 4, 2)]),
        [[0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3], [0, 1, 1, 1, 1, 3]],
    ),
    "Qwen2-VL: text after a long video follows its last frame": (
        ("qwen2_vl", [1, V, V, V, V, V, 2], [(5, 2, 2)]),
        [[0, 1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1, 6], [0, 1, 1, 1, 1, 1, 6]],
    ),
    "Qwen2.5-VL: two steps a second": (
        ("qwen2_5_vl", [1, V, V, V, 2], [(3, 2, 2)], [1.0]),
        [[0, 1, 3, 5, 6], [0, 1, 1, 1, 6], [0, 1, 1, 1, 6]],
    ),
    "Qwen2.5-VL: part of a step is rounded down": (
        ("qwen2_5_vl", [1, V, V, V, 2], [(3, 2, 2)], [0.75]),
        [[0, 1, 2, 4, 5], [0, 1, 1, 1, 5], [0, 1, 1, 1, 5]],
    ),
    "Qwen3-VL: each pair of frames is an image": (
        ("qwen3_vl", [V, V, 9, V, V, 8], [(2, 4, 2)]),
        [[0, 0, 2, 3, 3, 5], [0, 1, 2, 3, 4, 5], [0, 0, 2, 3, 3, 5]],
    ),
    "two videos side by side, as no processor writes them": (("qwen2_vl", [V, V, 1], [(1, 2, 2)] * 2), [[0, 1, 2]] * 3),
    "text only": (("qwen2_5_vl", [7, 8], []), [[0, 1]] * 3),
}


@pytest.mark.parametrize(("arguments", "expected"), LITERAL.values(), ids=LITERAL)
def test_positions_are_these(arguments: tuple[Any, ...], expected: list[list[int]]) -> None:
    assert count(*arguments) == expected


def test_padding_on_either_side_changes_nothing() -> None:
    ids = torch.tensor([[0, 0, 1, VIDEO, 2], [1, VIDEO, 2, 0, 0]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    positions = mrope_positions(ids, rule_of("qwen2_vl"), {"video_grid_thw": [(1, 2, 2)] * 2}, mask)
    assert positions[0].tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 0, 0]]


def test_text_positions_come_first() -> None:
    assert with_text_positions(torch.full((3, 2), 7)).tolist() == [[0, 1], [7, 7], [7, 7], [7, 7]]


def test_an_unknown_family_has_no_rule() -> None:
    assert PositionRule.of(config("glm4v")) is None


@pytest.mark.parametrize(
    ("ids", "grids", "says"),
    [
        ([1, VIDEO, 2], [], "no grid is left"),
        ([VIDEO, VIDEO, 2], [(1, 2, 4), (1, 2, 2)], "1 video grids have no tokens"),
        ([VIDEO, VIDEO, END], [(1, 4, 4)], r"2 video tokens from .* 0, and its grid \(1, 4, 4\) stands for 4"),
        ([VIDEO, END, VIDEO], [(1, 2, 4)], "1 video tokens from position 0"),
    ],
    ids=["sampled by the model", "too many grids", "cut", "interrupted"],
)
def test_ids_that_do_not_match_their_grids_are_named(
    ids: list[int], grids: list[tuple[int, int, int]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        count("qwen2_vl", ids, grids)


@pytest.mark.parametrize("seconds", [None, [1.0, 2.0]], ids=["missing", "of other videos"])
def test_a_video_without_its_seconds_is_refused_where_time_is_absolute(seconds: list[float] | None) -> None:
    with pytest.raises(ValueError, match=r"positions tell time in seconds.*metadata"):
        count("qwen2_5_vl", [VIDEO], [(1, 2, 2)], seconds)


# Against vLLM's own code, over what real processors give.

CASES = 500
RATES = (8.0, 23.976, 24.0, 29.97, 60.0)


@dataclass(frozen=True)
class Prompt:
    """A drawn prompt: text with placeholders, and what they stand for."""

    text: str
    videos: list[tuple[Tensor, dict[str, Any]]]
    images: list[Any]


def video(draw: random.Random, count: int, height: int, width: int) -> tuple[Tensor, dict[str, Any]]:
    """Frames, and when they were taken."""
    total = count + draw.randrange(3000)
    indices = np.linspace(0, total - 1, count, dtype=int).tolist()
    metadata = {"fps": draw.choice(RATES), "frames_indices": indices, "total_num_frames": total}
    return torch.zeros((count, 3, height, width), dtype=torch.uint8), {**metadata, "video_backend": "pyav"}


def drawn_prompt(draw: random.Random, frames: int | None = None) -> Prompt:
    """Text, videos and images in any order; with `frames`, a video of so many."""
    from PIL import Image

    kinds = draw.choices(["video", "image", "text"], [3, 1, 2], k=draw.randrange(1, 5)) + ["video"] * bool(frames)
    text, videos, images = "", [], []
    for kind in kinds:
        size = 28 * draw.randrange(2, 6), 28 * draw.randrange(2, 6)
        text += "word " * draw.randrange(6)
        if kind == "video":
            videos.append(video(draw, frames or draw.randrange(2, 41), *size))
        elif kind == "image":
            images.append(Image.new("RGB", size))
        text += f"<|vision_start|><|{kind}_pad|><|vision_end|>" * (kind != "text")
    return Prompt(text + "and?", videos, images)


class Family:
    """A model family as the actor, SFT and DPO see it, and as vLLM does."""

    def __init__(self, family: str, folder: Path) -> None:
        from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
        from verl.utils import hf_processor
        from vsi_support.vllm_reading import VllmReader

        from verl_vsi.data_adapters.datasets.sft import VsiSFTDataset

        write_model_folder(family, folder)
        self.processor: Any = hf_processor(str(folder))
        self.vllm = VllmReader(folder)
        self.dataset: Any = object.__new__(VsiSFTDataset)
        remote: Any = AgentLoopWorkerTQ
        self.worker: Any = object.__new__(remote.__ray_metadata__.modified_class)
        self.dataset.processor = self.worker.processor = self.processor

    def differences(self, prompt: Prompt) -> list[str]:
        """Who sees another prompt, or other positions, than vLLM."""
        from verl.utils.tokenizer.tokenizer import build_multimodal_processor_inputs

        parts = {"images": prompt.images or None, "videos": prompt.videos or None}
        inputs = dict(build_multimodal_processor_inputs(self.processor, text=[prompt.text], **parts))
        ids = inputs.pop("input_ids")
        written = self.processor.tokenizer(prompt.text)["input_ids"]
        read, features = self.vllm.read(written, prompt.videos, prompt.images)
        theirs = self.vllm.positions(read, features)
        padded, mask = (torch.nn.functional.pad(x, (3, 5)) for x in (ids, torch.ones_like(ids)))
        rule = PositionRule.of(self.processor.config)
        assert rule is not None
        ours = {
            "actor": self.worker._compute_position_ids(padded, mask, dict(inputs), None)[0, :, 3:-5],
            "SFT and DPO": self.dataset._positions(ids[0], inputs),
            "Megatron": with_text_positions(mrope_positions(padded, rule, inputs, mask)[:, 0, 3:-5]),
        }
        expected = with_text_positions(theirs)
        wrong = [who for who, positions in ours.items() if not torch.equal(positions, expected)]
        return wrong + ["prompt"] * (read != ids[0].tolist())


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    return Family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.slow  # the import of vLLM's models
@pytest.mark.timeout(900)
def test_everybody_sees_vllms_positions(family: Family) -> None:
    draw = random.Random(14)
    wrong = [difference for _ in range(CASES) for difference in family.differences(drawn_prompt(draw))]
    assert not wrong, f"{len(wrong)} of {CASES}"


@pytest.mark.slow
@pytest.mark.parametrize("frames", [2, 3, 15, 16, 17, 32, 33, 64, 128, 768])
def test_everybody_sees_vllms_positions_of_so_many_frames(family: Family, frames: int) -> None:
    assert not family.differences(drawn_prompt(random.Random(frames), frames))


LIMIT = (16, 12)  # tokens of a frame at the recipes' pixel limit, from a video of 640x480


@pytest.mark.slow
@pytest.mark.parametrize("frames", [16, 32, 64, 128, 768])
def test_positions_at_the_pixel_limit_are_vllms(family: Family, frames: int) -> None:
    """Without the gigabyte of pixels: vLLM's features of tiny frames, their grids enlarged."""
    one = video(random.Random(frames), frames, 32, 32)
    written = family.processor.tokenizer("look <|vision_start|><|video_pad|><|vision_end|> and?")["input_ids"]
    read, features = family.vllm.read(written, [one])
    grid = features[0].data["video_grid_thw"].data
    here = int(grid[1] * grid[2]) // 4
    marker = family.processor.video_token_id
    kept = _one_a_pair(read, marker, here)
    ids = [token for token in kept for _ in range(LIMIT[0] * LIMIT[1] if token == marker else 1)]
    grid[1:] = torch.tensor(LIMIT) * 2
    vision = {"video_grid_thw": grid[None], "second_per_grid_ts": None}
    if "second_per_grid_ts" in features[0].data:
        vision["second_per_grid_ts"] = features[0].data["second_per_grid_ts"].data[None]
    rule = PositionRule.of(family.processor.config)
    assert rule is not None
    ours = mrope_positions(torch.tensor([ids]), rule, vision)[:, 0]
    assert torch.equal(ours, family.vllm.positions(ids, features))


def _one_a_pair(ids: list[int], marker: int, tokens: int) -> list[int]:
    """Ids with one video token a frame pair, of the `tokens` that there are."""
    kept, run = [], 0
    for token in ids:
        run = run + 1 if token == marker else 0
        if token != marker or run % tokens == 1 % tokens:
            kept.append(token)
    return kept
