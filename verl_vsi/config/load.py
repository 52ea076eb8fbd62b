"""The numbers of a recipe that memory, bytes and steps follow from, PPO's and SFT's alike."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.access import video_tokens
from verl_vsi.sharing.eligibility import why_upstream_passes

TEXT_TOKENS = 120
"""A question with the longest mode prompt and the chat template, in Qwen2-VL's tokens, rounded up."""
PATCH_BYTES = 3 * 2 * 14 * 14 * 4
"""One patch of pixels as verl keeps it: float32, two frames of 14x14."""
PATCHES_A_TOKEN = 4


@dataclass(frozen=True)
class Load:
    """The numbers of a recipe, PPO's and SFT's alike."""

    video_tokens: int
    response: int
    batch: int
    rollouts: int
    tokens: int
    """Of the largest micro-batch on one GPU, those that pass through the model."""
    spoken: int
    """Of these, those that get logits."""
    gpus: int
    passes: int
    """Times that the trainer reads a batch's pixels: old and reference log-probabilities, update."""
    videos: int
    """Of the largest micro-batch on one GPU, those that pass through the tower."""
    shared: bool
    """Whether a question's rollouts share its prompt and its video (``passes=shared``, and nothing against it)."""

    @property
    def prompt(self) -> int:
        """Tokens of the longest usual prompt."""
        return self.video_tokens + TEXT_TOKENS

    @property
    def pixel_bytes(self) -> int:
        """One video as verl's own passes move it, in float32."""
        return self.video_tokens * PATCHES_A_TOKEN * PATCH_BYTES


def load_of(config: DictConfig) -> Load:
    """Read a recipe's numbers.

    Raises:
        ValueError: frames go by seconds, so a video's tokens depend on its length.
    """
    tokens = video_tokens(config)
    if tokens is None:
        raise ValueError("vsi.frames.nframes is null: with frames by the second a video's tokens depend on its length")
    ours = _sft_load if OmegaConf.select(config, "actor_rollout_ref.actor") is None else _grpo_load
    return ours(config, tokens, config.trainer.n_gpus_per_node * config.trainer.nnodes)


def _sft_load(config: DictConfig, video: int, gpus: int) -> Load:
    """Answers of two words or a number."""
    response, batch, rows = 16, config.data.train_batch_size, config.data.micro_batch_size_per_gpu
    computed = rows * (video + TEXT_TOKENS + response)
    return Load(video, response, batch, 1, computed, computed, gpus, 1, rows, shared=False)


def _grpo_load(config: DictConfig, video: int, gpus: int) -> Load:
    actor, n = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout.n
    response, batch = config.data.max_response_length, config.data.train_batch_size
    shared = why_upstream_passes(config) is None
    if shared:
        group, spoken = video + TEXT_TOKENS + n * response, n * response
        # whole groups up to the limit, and at least one
        groups = min(max(1, actor.ppo_max_token_len_per_gpu // group), -(-batch // gpus))
    else:
        group = spoken = video + TEXT_TOKENS + response
        groups = actor.ppo_micro_batch_size_per_gpu
    passes = 3 if actor.use_kl_loss else 2
    return Load(video, response, batch, n, groups * group, groups * spoken, gpus, passes, groups, shared)
