"""What `recipes estimate` says of an update beside what is allocated, and how many tokens an 80 GB card takes."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from gpu.setting import FAMILY, Case, Setting, peak
from gpu.updates import update
from stored_videos import stored_batch
from vsi_support.engine_batches import Grid, SampleQuestion
from vsi_support.live_memory import tensor_bytes

from verl_vsi.config.estimate import recipe_of
from verl_vsi.config.load import TEXT_TOKENS
from verl_vsi.config.memory import Recipe, training_terms

TITLE = "an update of a recipe, 80 GB: gigabytes estimated and allocated"

CAPACITY = 80e9
RECIPES = {
    "tiny": ("vsgrpo_miniature",),
    "2b": ("vsgrpo_2b hardware=one_gpu", "vsgrpo_2b hardware=one_gpu mode=think"),
    "7b": ("vsgrpo_7b backend=fsdp2 hardware=one_gpu", "vsgrpo_7b backend=fsdp2 hardware=one_gpu mode=think"),
}


def cases(setting: Setting) -> list[Case]:
    """Each recipe, with its token limit and larger ones."""
    times = (1,) if setting.tiny else (1, 2, 4, 8)
    return [{"recipe": recipe, "limit times": t} for size in setting.sizes for recipe in RECIPES[size] for t in times]


def measure(setting: Setting, case: Case) -> Case:
    """Bytes estimated and allocated; out of memory where a card of 80 GB would be.

    Args:
        setting: device and sizes.
        case: of `cases`.
    """
    size = next(size for size in setting.sizes if case["recipe"] in RECIPES[size])
    recipe = _composed(case["recipe"], str(setting.model(size)), case["limit times"])
    engine = setting.only(("memory", case["recipe"]), lambda: _engine(setting, size, recipe))
    weights = sum(map(tensor_bytes, engine.module.parameters()))
    engine.optimizer.state.clear()
    batch = _fullest(recipe, setting)
    if setting.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, CAPACITY / torch.cuda.mem_get_info()[1]))
    try:
        more = peak(lambda: update(engine, batch), setting.device)
    finally:
        engine.module.zero_grad(set_to_none=True)
        if setting.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    return {
        "tokens": recipe.load.tokens,
        "estimated": sum(term.bytes for term in training_terms(recipe)),
        "allocated": weights + more,
    }


@cache
def _composed(recipe: str, model: str, times: int) -> Recipe:
    """A recipe on the model of random weights.

    Args:
        recipe: its name and overrides.
        model: folder.
        times: its token limit is multiplied by this.
    """
    from verl_vsi.config.recipes import composer

    with composer() as compose:
        words = f"{recipe} vsi.model={model}"
        limit = compose.recipe(words).actor_rollout_ref.actor.ppo_max_token_len_per_gpu
        return recipe_of(compose.recipe(f"{words} actor_rollout_ref.actor.ppo_max_token_len_per_gpu={limit * times}"))


def _engine(setting: Setting, size: str, recipe: Recipe) -> Any:
    return setting.engine(
        "shared",
        size,
        dtype="fp32",
        compute=setting.dtype,
        lora_rank=recipe.config.vsi.lora.rank,
        exclude_modules=".*visual.*",
        enable_gradient_checkpointing=recipe.recomputed,
    )


def _fullest(recipe: Recipe, setting: Setting) -> Any:
    """The largest micro-batch that the estimate counts: whole groups, every answer of full length."""
    load = recipe.load
    grid, lengths = _grid(load.video_tokens, recipe.config.vsi.frames.nframes // 2), [load.response] * load.rollouts
    questions = [SampleQuestion(lengths, TEXT_TOKENS, grids=(grid,), seed=seed) for seed in range(load.videos)]
    limit = {"use_dynamic_bsz": True, "max_token_len_per_gpu": load.tokens + load.videos * 8}
    return stored_batch(questions, setting.folder, FAMILY, named=True, **limit)


def _grid(video_tokens: int, pairs: int) -> Grid:
    """Patches of a video, as square as may be.

    Args:
        video_tokens: of the video.
        pairs: of frames.
    """
    tokens = video_tokens // pairs
    height = next(side for side in range(int(tokens**0.5), 0, -1) if tokens % side == 0)
    return pairs, 2 * height, 2 * tokens // height


def summary(rows: list[Case]) -> list[Case]:
    """In gigabytes, and how much more is allocated than estimated."""
    return [
        {
            "tokens": row["tokens"],
            "estimated": row["estimated"] / 1e9,
            "allocated": row["allocated"] / 1e9,
            "ratio": row["allocated"] / row["estimated"],
        }
        for row in rows
    ]
