"""What every side of `step.py` works on: a model with random weights, its processor, clips, questions, frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import video_samples as samples
from passes_costs import SHAPES
from passes_setup import save_model
from step import FRAMES, PIXELS, QUESTIONS, SIZE

SHAPE = SHAPES["qwen2_vl"]["small"]


def build(folder: Path, steps: int) -> None:
    """Write model, rows and clips, and `trl.npy` and `trl.json` for TRL; a clip a question.

    Args:
        folder: for all of it.
        steps: that the questions are enough for.
    """
    if (folder / "trl.json").exists():
        return
    save_all(folder / "model")
    number = QUESTIONS * steps
    videos = samples.write_clips(folder / "clips", distinct=min(number, 6), frames=24, names=number, size=SIZE)
    write_questions(folder, videos)
    frames = np.stack([decode(folder, video) for video in videos])
    np.save(folder / "trl.npy", frames[:, ::2])
    texts = [f"{samples.QUESTION.format(i)}\n{samples.PROMPT}" for i in range(number)]
    (folder / "trl.json").write_text(json.dumps(texts))


def save_all(folder: Path) -> None:
    """Model and processor, as `from_pretrained` wants them."""
    processor = samples.make_processor(pixels=PIXELS, words=SHAPE.vocabulary)
    ids = processor.tokenizer.convert_tokens_to_ids
    tokens = {
        "bos_token_id": ids("<|endoftext|>"),
        "eos_token_id": ids("<|im_end|>"),
        "pad_token_id": ids("<|endoftext|>"),
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }
    save_model("qwen2_vl", SHAPE, torch.float32, folder, tokens)
    processor.save_pretrained(folder)


def write_questions(folder: Path, videos: list[str]) -> None:
    """Rows as `verl-vsi data build` writes them.

    Args:
        folder: of rows.parquet.
        videos: one a question.
    """
    from verl_vsi.data_adapters.rows import make_row, write_rows
    from verl_vsi.data_adapters.schema import Question

    rows = []
    for i, video in enumerate(videos):
        question = Question("object_abs_distance", samples.QUESTION.format(i), "6.1", "number", f"room{i}")
        rows.append(make_row(question, dataset="rooms", video=video, data_source="vsi100k", split="train", index=i))
    write_rows(folder / "rows.parquet", rows, {"builder": "benchmarks/step.py", "published": False})


def decode(root: Path, video: str) -> Any:
    """(FRAMES, height, width, 3) uint8, through the frame store, which both sides of verl then find filled.

    Args:
        root: the data root.
        video: below it.
    """
    from verl_vsi.data_adapters.datasets.data_settings import DataSettings, open_store

    spec = {"sampler": "linspace", "nframes": FRAMES, "min_pixels": PIXELS, "max_pixels": PIXELS}
    settings = DataSettings.from_config({"root": str(root), "frames": spec, "mode": {"train_prompt": samples.PROMPT}})
    return np.array(open_store(settings).frames(root / video).array)
