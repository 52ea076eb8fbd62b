"""All that is checked before a run starts; each finds any number of problems, and all are shown at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from omegaconf import DictConfig

from verl_vsi.config.problems import Problem
from verl_vsi.preflight.inputs import check_root, check_rows
from verl_vsi.preflight.model import check_family, check_model
from verl_vsi.preflight.resume import check_resume
from verl_vsi.preflight.rows import check_leakage, check_truths
from verl_vsi.preflight.settings import (
    check_budget,
    check_lora,
    check_megatron,
    check_outputs,
    check_passes,
    check_platform,
    check_rewards,
    check_verl,
)
from verl_vsi.preflight.values import check_verl_values, check_vsi

Check = Callable[[DictConfig], Iterable[Problem]]

VALUES: tuple[Check, ...] = (check_verl, check_vsi, check_verl_values)
"""Before all others, which rely on them."""

CHECKS: tuple[Check, ...] = (
    check_root,
    check_outputs,
    check_rows,
    check_model,
    check_family,
    check_platform,
    check_megatron,
    check_budget,
    check_lora,
    check_passes,
    check_rewards,
    check_leakage,
    check_truths,
    check_resume,
)
"""In the order in which a user best solves what they find."""


def problems(config: DictConfig, checks: Sequence[Check] = CHECKS) -> list[Problem]:
    """What stops this run.

    Args:
        config: a recipe as Hydra composed it.
        checks: which; all of them by default. Where a value has no meaning, only that is said.
    """
    return _found(config, VALUES) or _found(config, checks)


def _found(config: DictConfig, checks: Sequence[Check]) -> list[Problem]:
    return [problem for check in checks for problem in check(config)]
