"""Reward means per task, terms that teach nothing, and a rollout that does not see what the actor sees."""

from __future__ import annotations

import pytest

from verl_vsi.training_metrics import (
    CORRELATION,
    RolloutMismatchError,
    TrainingMonitor,
    constant_terms,
    reward_means,
)

ROWS = [
    ("vsi100k/object_counting", {"score": 2.0, "reward/accuracy": 1.0, "reward/format": 1.0, "pred": "4"}),
    ("vsi100k/object_counting", {"score": 1.0, "reward/accuracy": 0.0, "reward/format": 1.0, "pred": ""}),
    ("vsi100k/room_size_estimation", {"score": 1.5, "reward/accuracy": 0.5, "reward/format": 1.0, "pred": "9"}),
]


def test_every_part_has_a_mean_per_task_and_over_all() -> None:
    means = reward_means(ROWS)
    assert means["train-aux/vsi100k/object_counting/score/mean"] == 1.5
    assert means["train-aux/vsi100k/room_size_estimation/reward/accuracy/mean"] == 0.5
    assert means["train-aux/all/reward/accuracy/mean"] == 0.5
    assert not any("pred" in name for name in means)


def test_no_rows_give_no_means() -> None:
    assert reward_means([]) == {}


def test_a_constant_term_is_named() -> None:
    assert constant_terms(ROWS) == ["format"]


def test_a_rollout_that_sees_other_pixels_stops_in_its_first_step() -> None:
    with pytest.raises(RolloutMismatchError, match=r"0\.6300.*mm_device_do_normalize"):
        TrainingMonitor(0.98, 20).check({CORRELATION: 0.63})


def test_a_correlation_that_is_no_number_stops_too() -> None:
    with pytest.raises(RolloutMismatchError):
        TrainingMonitor(0.98, 20).check({CORRELATION: float("nan")})


def test_only_the_first_step_is_held_against_the_limit() -> None:
    monitor = TrainingMonitor(0.98, 20)
    monitor.check({})  # a step without the metric is not the first
    monitor.check({CORRELATION: 0.9999})
    monitor.check({CORRELATION: 0.5})


def test_a_term_that_never_changes_is_named_once() -> None:
    monitor = TrainingMonitor(0.98, 3)
    dead = [("vsi100k/object_counting", {"reward/format": 1.0, "reward/accuracy": a}) for a in (0.0, 1.0)]
    assert [monitor.dead_terms(dead, step) for step in range(5)] == [[], [], ["format"], [], []]


def test_a_term_that_changes_again_starts_anew() -> None:
    monitor = TrainingMonitor(0.98, 2)
    dead = [("s", {"reward/format": 1.0}), ("s", {"reward/format": 1.0})]
    alive = [("s", {"reward/format": 1.0}), ("s", {"reward/format": 0.0})]
    assert [monitor.dead_terms(rows, step) for step, rows in enumerate((dead, alive, dead, dead))] == [
        [],
        [],
        [],
        ["format"],
    ]
