"""How long a recipe computes, by arithmetic: operations of its passes over what a GPU does in a second.

A token costs two operations a weight forward, and as many again for each of the gradients that a weight's layer needs
(activations; weights, where they are trained). Every answer counts with its full length. Left out: attention's part
that grows with the square of the length, communication, loading, validation, checkpoints. It is for comparing recipes,
an order of magnitude; nothing of it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from verl_vsi.config.load import PATCHES_A_TOKEN
from verl_vsi.config.memory import Recipe

UTILISATION = 0.4
"""Share of a GPU's peak that training reaches; 0.3 to 0.5 is usual for these sizes."""


@dataclass(frozen=True)
class Gpu:
    """A GPU's published figures."""

    name: str
    flops: float
    """bfloat16 operations a second, dense."""
    bandwidth: float
    """Bytes of its memory a second."""


H100 = Gpu("H100 SXM", 989e12, 3.35e12)


def step_seconds(recipe: Recipe, gpu: Gpu = H100) -> float:
    """Seconds of one step: passes of the trainer, and rollouts.

    Args:
        recipe: with its model's shape.
        gpu: each of them.
    """
    return trainer_operations(recipe) / (recipe.load.gpus * gpu.flops * UTILISATION) + rollout_seconds(recipe, gpu)


def trainer_operations(recipe: Recipe) -> float:
    """Operations of a step's passes: old and reference log-probabilities, and the update, over all GPUs."""
    load, shape = recipe.load, recipe.shape
    answers = load.rollouts * load.response
    tokens = load.batch * (load.prompt + answers if load.shared else load.rollouts * load.prompt + answers)
    videos = load.batch * (1 if load.shared else load.rollouts)
    forward = 2.0 * (
        shape.text_parameters * tokens + shape.vision_parameters * videos * load.video_tokens * PATCHES_A_TOKEN
    )
    update = 1 + (2 if recipe.full else 1) + recipe.recomputed
    return forward * (load.passes - 1 + update)


def rollout_seconds(recipe: Recipe, gpu: Gpu = H100) -> float:
    """Seconds of generation: each prompt once, then a token at a time, for which all weights are read.

    Args:
        recipe: with its model's shape.
        gpu: each of them.
    """
    if not recipe.ppo:
        return 0.0
    load, rollout = recipe.load, recipe.config.actor_rollout_ref.rollout
    prompts = 2.0 * recipe.shape.parameters * load.batch * load.prompt / (load.gpus * gpu.flops * UTILISATION)
    replicas = load.gpus / rollout.tensor_model_parallel_size
    waves = max(1.0, load.batch * load.rollouts / replicas / rollout.max_num_seqs)
    weights = 2.0 * recipe.shape.parameters / rollout.tensor_model_parallel_size
    return prompts + waves * load.response * weights / gpu.bandwidth
