"""What a user should know of a run and need not act on, said in full at the start of every run."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.resolvers import has_flash_attn
from verl_vsi.megatron import NOT_RUN_ON_A_GPU
from verl_vsi.preflight.model import model_remarks
from verl_vsi.sharing.eligibility import statement as passes_statement

ESTIMATORS = {
    "kl": "k1, log(pi/ref)",
    "k1": "k1, log(pi/ref)",
    "abs": "|log(pi/ref)|",
    "mse": "k2, log(pi/ref)^2 / 2",
    "k2": "k2, log(pi/ref)^2 / 2",
    "low_var_kl": "k3, ref/pi - log(ref/pi) - 1",
    "k3": "k3, ref/pi - log(ref/pi) - 1",
    "full": "over the whole vocabulary",
}
"""verl's names for KL estimators, in formulas."""


def kl_statement(config: DictConfig) -> str:
    """Where KL is, of which type, with what coefficient; empty for a trainer without KL."""
    actor = OmegaConf.select(config, "actor_rollout_ref.actor")
    if actor is None:
        return ""
    parts = []
    if actor.use_kl_loss:
        parts.append(f"in the loss, {_named(actor.kl_loss_type)}, coefficient {actor.kl_loss_coef:g}")
    if config.algorithm.use_kl_in_reward:
        control = config.algorithm.kl_ctrl
        parts.append(
            f"in the reward, {_named(config.algorithm.kl_penalty)}, coefficient {control.kl_coef:g} ({control.type})"
        )
    return f"KL: {' and '.join(parts)}" if parts else "KL: off, in the loss and in the reward (the paper has 0.0001)"


def _named(kind: str) -> str:
    straight_through = " with a straight-through gradient" if kind.endswith("+") else ""
    name = kind.removesuffix("+")
    return f"{kind} ({ESTIMATORS[name]}{straight_through})" if name in ESTIMATORS else kind


def remarks(config: DictConfig) -> Iterator[str]:
    """One line each."""
    if config.vsi.backend == "megatron":
        yield NOT_RUN_ON_A_GPU
    if kl := kl_statement(config):
        yield kl
    if passes := passes_statement(config):
        yield passes
    yield from model_remarks(config)
    frames = config.vsi.frames
    often = f"{frames.nframes} frames" if frames.nframes else f"{frames.fps} frames a second"
    yield f"mode {config.vsi.mode.name}, {often} of up to {frames.max_pixels} pixels, {config.vsi.backend} backend"
    if config.vsi.backend == "fsdp2" and config.vsi.hardware.device != "cpu" and not has_flash_attn():
        yield "flash-attn is not installed: attention is sdpa and batches are padded (slower; docs, 'On one GPU')"
    if config.vsi.data.published:
        yield "training on the published data: scenes of the benchmark are probably among them"
