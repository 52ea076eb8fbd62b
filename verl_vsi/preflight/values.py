"""Values that are no values: of every key under `vsi`, and of verl's few keys that a run of ours depends on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_vsi.config.problems import Problem
from verl_vsi.config.schema_check import check_node


def check_vsi(config: DictConfig) -> Iterator[Problem]:
    """Every key under `vsi` is known, of its type and in its range."""
    try:
        node: Any = OmegaConf.to_container(config.vsi, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = error.full_key or "vsi"
        yield Problem(
            f"{key} has no value: {str(error).splitlines()[0]}", f"set {key} on the command line or in the recipe"
        )
        return
    yield from check_node(node)


class Rule(NamedTuple):
    """What a key of verl's must be."""

    key: str
    least: float
    whole: bool = True
    why: str = ""


RULES = (
    Rule("actor_rollout_ref.rollout.n", 2, why="a group of one has no advantage, so GRPO would learn nothing"),
    Rule("actor_rollout_ref.rollout.temperature", 1e-6, whole=False, why="rollouts of a group must differ"),
    Rule("actor_rollout_ref.actor.ppo_mini_batch_size", 1),
    Rule("actor_rollout_ref.actor.ppo_epochs", 1),
    Rule("actor_rollout_ref.actor.ppo_max_token_len_per_gpu", 1),
    Rule("actor_rollout_ref.actor.optim.lr", 0, whole=False),
    Rule("actor_rollout_ref.actor.kl_loss_coef", 0, whole=False),
    Rule("optim.lr", 0, whole=False),
    Rule("data.train_batch_size", 1),
    Rule("data.max_prompt_length", 1),
    Rule("data.max_response_length", 1),
    Rule("data.max_length", 1),
    Rule("data.micro_batch_size_per_gpu", 1),
    Rule("trainer.total_epochs", 1),
    Rule("trainer.total_training_steps", 1),
    Rule("trainer.n_gpus_per_node", 1),
    Rule("trainer.nnodes", 1),
)
"""Of the keys that a trainer has; null leaves verl's own default, which is verl's to check."""


def check_verl_values(config: DictConfig) -> Iterator[Problem]:
    """Sizes, counts and rates that would fail late, or train on nothing."""
    for rule in RULES:
        value = OmegaConf.select(config, rule.key)
        if value is not None and not _fits(value, rule):
            kind = "an integer" if rule.whole else "a number"
            yield Problem(
                f"{rule.key}={value}" + (f": {rule.why}" if rule.why else ""),
                f"set {rule.key} to {kind} of at least {rule.least:g}",
            )
    yield from _check_batches(config)


def _fits(value: object, rule: Rule) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if rule.whole else int | float):
        return False
    return math.isfinite(value) and value >= rule.least


def _check_batches(config: DictConfig) -> Iterator[Problem]:
    """verl cuts a batch into equal mini-batches."""
    batch, mini = (
        OmegaConf.select(config, key)
        for key in ("data.train_batch_size", "actor_rollout_ref.actor.ppo_mini_batch_size")
    )
    whole = isinstance(batch, int) and isinstance(mini, int) and min(batch, mini) >= 1
    if whole and mini <= batch and batch % mini:
        yield Problem(
            f"data.train_batch_size={batch} is not a multiple of actor_rollout_ref.actor.ppo_mini_batch_size={mini}",
            f"set actor_rollout_ref.actor.ppo_mini_batch_size to a divisor of {batch}",
        )
