"""Hours by arithmetic: against arithmetic by hand, and the table in the docs."""

from __future__ import annotations

import pytest
from vsi_support.memory_table import TABLE, markdown

from verl_vsi.config.duration import rollout_seconds, trainer_operations
from verl_vsi.config.estimate import estimate, hours_of, recipe_of
from verl_vsi.config.recipes import Composer


def test_operations_are_those_of_arithmetic_by_hand(compose: Composer) -> None:
    """64 questions of 1144 + 14 x 32 tokens, 64 videos of 4096 patches; 2 forward passes, and an update of 3."""
    recipe = recipe_of(compose.recipe("vsgrpo_2b"))
    language = 2 * recipe.shape.text_parameters * 64 * (1144 + 14 * 32)
    vision = 2 * recipe.shape.vision_parameters * 64 * 4096
    assert trainer_operations(recipe) == pytest.approx(5 * (language + vision))


def test_stock_passes_take_each_prompt_and_video_for_each_answer(compose: Composer) -> None:
    shared, stock = (
        trainer_operations(recipe_of(compose.recipe(f"vsgrpo_2b passes={p}"))) for p in ("shared", "stock")
    )
    assert 9 < stock / shared < 14


def test_a_rollout_reads_the_weights_for_each_token(compose: Composer) -> None:
    """8 replicas of 112 answers at once: 32 tokens x 4.4 GB at 3.35 TB/s, and 9,152 prompt tokens each."""
    assert rollout_seconds(recipe_of(compose.recipe("vsgrpo_2b"))) == pytest.approx(0.044 + 0.1, abs=0.02)
    assert rollout_seconds(recipe_of(compose.recipe("sft_2b"))) == 0


def test_hours_are_said_as_arithmetic_and_not_where_they_would_mislead(compose: Composer) -> None:
    (line,) = [line for line in estimate(compose.recipe("vsgrpo_2b"), 100_000, 1) if line.what == "hours"]
    assert "not measured" in line.basis
    assert all(hours_of(recipe_of(compose.recipe(name)), 100) is None for name in ("dpo_2b", "vsgrpo_miniature"))


def test_the_docs_have_the_table(compose: Composer) -> None:
    """If not: VSI_RUN=tests python -m vsi_support.memory_table"""
    assert TABLE.written() == markdown(compose)
