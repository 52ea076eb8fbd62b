"""Values of verl's keys that a run depends on, refused before Ray with a way out."""

from __future__ import annotations

import pytest

pytest.importorskip("verl")

from verl_vsi.config.recipes import Composer
from verl_vsi.preflight.startup import problems
from verl_vsi.preflight.values import check_verl_values, check_vsi

BAD = [
    ("vsgrpo_2b actor_rollout_ref.rollout.n=1", "actor_rollout_ref.rollout.n=1", "of at least 2"),
    ("vsgrpo_2b actor_rollout_ref.rollout.n=0", "actor_rollout_ref.rollout.n=0", "of at least 2"),
    ("vsgrpo_2b actor_rollout_ref.rollout.temperature=0", "temperature=0", "a number of at least 1e-06"),
    ("vsgrpo_2b data.train_batch_size=0", "data.train_batch_size=0", "an integer of at least 1"),
    ("vsgrpo_2b data.train_batch_size=ten", "data.train_batch_size=ten", "an integer of at least 1"),
    ("vsgrpo_2b data.max_response_length=-5", "data.max_response_length=-5", "of at least 1"),
    ("vsgrpo_2b actor_rollout_ref.actor.ppo_epochs=0", "ppo_epochs=0", "of at least 1"),
    ("vsgrpo_2b actor_rollout_ref.actor.optim.lr=-1e-6", "optim.lr=-1e-06", "a number of at least 0"),
    ("vsgrpo_2b actor_rollout_ref.actor.ppo_mini_batch_size=48", "is not a multiple of", "a divisor of 64"),
    ("vsgrpo_2b trainer.total_epochs=0", "trainer.total_epochs=0", "of at least 1"),
    ("sft_2b optim.lr=nan", "optim.lr=nan", "a number of at least 0"),
    ("sft_2b data.micro_batch_size_per_gpu=0", "data.micro_batch_size_per_gpu=0", "of at least 1"),
]


@pytest.mark.parametrize(("command", "what", "fix"), BAD, ids=[case[0] for case in BAD])
def test_a_size_or_rate_without_meaning_is_refused(compose: Composer, command: str, what: str, fix: str) -> None:
    found = list(check_verl_values(compose.recipe(command)))
    assert any(what in problem.what and fix in problem.fix for problem in found)


@pytest.mark.parametrize("command", ["vsgrpo_2b", "vsgrpo_7b", "sft_7b", "dpo_2b", "vsgrpo_2b mode=think"])
def test_our_recipes_pass(compose: Composer, command: str) -> None:
    assert not list(check_verl_values(compose.recipe(command)))


def test_a_value_that_is_not_set_is_named(compose: Composer) -> None:
    (problem,) = check_vsi(compose.recipe("vsgrpo_2b vsi.model=???"))
    assert "vsi.model" in problem.what
    assert "vsi.model" in problem.fix


def test_where_a_value_has_no_meaning_only_that_is_said(compose: Composer) -> None:
    found = problems(compose.recipe("vsgrpo_2b vsi.frames=null"))
    assert [problem.what for problem in found] == ["vsi.frames=None, where it is a group of keys"]
