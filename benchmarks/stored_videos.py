"""Batches whose videos lie in a frame store: ours name them, as runs of ours do, and verl's hold their pixels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.engine_batches import Grid, SampleQuestion, engine_batch
from vsi_support.random_models import Family


def stored_batch(
    questions: Sequence[SampleQuestion], root: Path, family: Family, *, named: bool, **settings: Any
) -> Any:
    """A batch for an update, of questions with one video each.

    Args:
        questions: with their answers; `seed` tells videos apart.
        root: folder of the videos and of the store.
        family: of the model.
        named: videos by name, for our engine; else their pixels, for verl's.
        settings: of `engine_batch`.
    """
    from verl.utils import tensordict_utils as tu

    from verl_vsi.sharing.stored_video import KEY, with_pixels

    inputs: dict[str, Any] = {}
    for number, question in enumerate(questions):
        (grid,) = question.grids
        row = {KEY: [store_video(root, grid, family.patch, question.seed)], "video_grid_thw": torch.tensor([grid])}
        inputs[f"uid{number}"] = row if named else with_pixels(row, processor_of(family))
    batch = engine_batch(questions, family=family, calculate_entropy=False, **settings)
    tu.assign_non_tensor_stack(batch, "multi_modal_inputs", [inputs[uid] for uid in tu.get(batch, "uid")])
    return batch


def store_video(root: Path, grid: Grid, patch: int, seed: int) -> str:
    """Write a video as a folder of images; it is decoded into the store when it is first asked for.

    Args:
        root: the folder lies in it, and the store.
        grid: its patches in time, height and width.
        patch: pixels of a patch's side.
        seed: of its frames.

    Returns:
        What names it in a batch.
    """
    from verl_vsi.data_adapters.datasets.data_settings import DataSettings
    from verl_vsi.data_adapters.frames import FrameSpec, VideoLimits
    from verl_vsi.sharing.stored_video import StoredVideo

    frames, height, width = 2 * grid[0], patch * grid[1], patch * grid[2]
    folder = root / f"{seed}-{frames}x{height}x{width}"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed)
        for number in range(frames):
            frame = pixels.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(frame).save(unfinished / f"{number}.bmp")
        unfinished.rename(folder)
    area = height * width
    spec = FrameSpec("linspace", nframes=frames, patch_size=patch, min_pixels=area, max_pixels=area)
    return StoredVideo(
        DataSettings(root, root / "frames", spec, "raise", VideoLimits(), "vanilla", ""), folder.name
    ).text


def processor_of(family: Family) -> Any:
    """A model's own processor, for videos of the right size only."""
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    kind = Qwen3VLVideoProcessor if family.frame_by_frame else Qwen2VLVideoProcessor
    return SimpleNamespace(video_processor=kind(do_resize=False, patch_size=family.patch))
