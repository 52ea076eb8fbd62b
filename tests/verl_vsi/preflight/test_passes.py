"""Every recipe shares passes; a run that can't says so and why, and has verl's own settings instead."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig

from verl_vsi.config.recipes import Composer
from verl_vsi.preflight.settings import check_passes
from verl_vsi.preflight.statements import remarks

SHARED = ("vsi_sync", True, "vsi_single_turn", "verl_vsi.sharing.agent_loop_manager.GroupManager")
ROLLOUTS_ONLY = ("sync", False, *SHARED[2:])
PASSES_ONLY = (*SHARED[:2], "single_turn_agent", None)
NEITHER = ("sync", False, "single_turn_agent", None)
CONTEXT_PARALLEL = "actor_rollout_ref.actor.megatron.context_parallel_size=2"
ULYSSES = "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2"

RUNS = [
    ("vsgrpo_2b", SHARED, "passes: shared (each video"),
    ("vsgrpo_7b backend=fsdp2", SHARED, "passes: shared (each video"),
    ("vsgrpo_miniature", SHARED, "passes: shared (each video"),
    ("vsgrpo_7b", SHARED, "passes: shared (each video"),
    ("vsgrpo_2b backend=megatron", SHARED, "passes: shared (each video"),
    (f"vsgrpo_7b {CONTEXT_PARALLEL}", ROLLOUTS_ONLY, "a sequence over ranks; rollouts still prepare a question once"),
    ("vsgrpo_7b actor_rollout_ref.model.use_fused_kernels=true", ROLLOUTS_ONLY, "replaces the model's forward"),
    ("vsgrpo_2b actor_rollout_ref.actor.strategy=fsdp", ROLLOUTS_ONLY, "strategy=fsdp;"),
    (f"vsgrpo_2b {ULYSSES}", ROLLOUTS_ONLY, "ulysses_sequence_parallel_size splits a sequence over ranks"),
    ("vsgrpo_2b actor_rollout_ref.rollout.name=sglang", PASSES_ONLY, "rollouts are verl's own, because frames"),
    ("vsgrpo_2b distillation.enabled=true", NEITHER, "distillation reads the logits of every token"),
    ("vsgrpo_2b trainer.use_v1=false", NEITHER, "trainer.use_v1=false"),
    ("vsgrpo_2b passes=stock", NEITHER, "passes: verl's own, because passes=stock"),
    ("vsgrpo_7b passes=stock", NEITHER, "passes: verl's own, because passes=stock"),
]


def taken(config: DictConfig) -> tuple[Any, ...]:
    """The keys by which verl finds trainer, micro-batches, agent loop and its manager."""
    agent = config.actor_rollout_ref.rollout.agent
    dynamic = {
        config.actor_rollout_ref.actor.use_dynamic_bsz,
        config.actor_rollout_ref.ref.log_prob_use_dynamic_bsz,
        config.actor_rollout_ref.rollout.log_prob_use_dynamic_bsz,
    }
    assert len(dynamic) == 1
    return (
        config.trainer.v1.trainer_mode,
        dynamic.pop(),
        agent.default_agent_loop,
        agent.get("agent_loop_manager_class"),
    )


@pytest.mark.parametrize(("command", "keys", "said"), RUNS, ids=[command for command, *_ in RUNS])
def test_what_a_run_takes_is_what_it_says(compose: Composer, command: str, keys: tuple[Any, ...], said: str) -> None:
    config = compose.recipe(command)
    assert taken(config) == keys
    (line,) = [line for line in remarks(config) if line.startswith("passes: ")]
    assert said in line


def test_sft_has_no_rollouts_to_share(compose: Composer) -> None:
    assert not [line for line in remarks(compose.recipe("sft_2b")) if line.startswith("passes: ")]


def test_an_option_that_nothing_would_read_stops_the_run(compose: Composer) -> None:
    asked = "vsi.engine.freeze_tower=true"
    assert not list(check_passes(compose.recipe(f"vsgrpo_2b {asked}")))
    assert not list(check_passes(compose.recipe(f"vsgrpo_7b {asked}")))
    (problem,) = check_passes(compose.recipe(f"vsgrpo_7b {asked} {CONTEXT_PARALLEL}"))
    assert "vsi.engine.freeze_tower would do nothing" in problem.what
    assert "context_parallel_size=2" in problem.what
