"""All that is checked before a run starts; each finds any number of problems, and all are shown at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from omegaconf import DictConfig

from verl_vsi.checks.files import check_model, check_root, check_rows
from verl_vsi.checks.kl import statement
from verl_vsi.checks.leakage import check_leakage
from verl_vsi.checks.passes import check_passes
from verl_vsi.checks.platform import check_platform
from verl_vsi.checks.problem import Problem
from verl_vsi.checks.resume import check_resume
from verl_vsi.checks.settings import check_budget, check_lora, check_megatron, check_rewards
from verl_vsi.engine.choice import statement as passes_statement
from verl_vsi.megatron import NOT_RUN_ON_A_GPU
from verl_vsi.resolvers import has_flash_attn

Check = Callable[[DictConfig], Iterable[Problem]]

CHECKS: tuple[Check, ...] = (
    check_root,
    check_rows,
    check_model,
    check_platform,
    check_megatron,
    check_budget,
    check_lora,
    check_passes,
    check_rewards,
    check_leakage,
    check_resume,
)
"""In the order in which a user best solves what they find."""


def problems(config: DictConfig, checks: Sequence[Check] = CHECKS) -> list[Problem]:
    """What stops this run.

    Args:
        config: a recipe as Hydra composed it.
        checks: which; all of them by default.
    """
    return [problem for check in checks for problem in check(config)]


def remarks(config: DictConfig) -> Iterator[str]:
    """What a user should know and need not act on."""
    if config.vsi.backend == "megatron":
        yield NOT_RUN_ON_A_GPU
    if kl := statement(config):
        yield kl
    if passes := passes_statement(config):
        yield passes
    frames = config.vsi.frames
    often = f"{frames.nframes} frames" if frames.nframes else f"{frames.fps} frames a second"
    yield f"mode {config.vsi.mode.name}, {often} of up to {frames.max_pixels} pixels, {config.vsi.backend} backend"
    if config.vsi.backend == "fsdp2" and config.vsi.hardware.device != "cpu" and not has_flash_attn():
        yield "flash-attn is not installed: attention is sdpa and batches are padded (slower; README, 'On GPUs')"
    if config.vsi.data.published:
        yield "training on the published data: scenes of the benchmark are probably among them"
