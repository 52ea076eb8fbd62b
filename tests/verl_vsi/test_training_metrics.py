from __future__ import annotations

import pytest

from verl_vsi.training_metrics import CORRELATION, RolloutMismatchError, TrainingWatch


def test_a_rollout_that_sees_other_pixels_stops_in_its_first_step() -> None:
    with pytest.raises(RolloutMismatchError, match=r"0\.6300.*mm_device_do_normalize"):
        TrainingWatch(0.98, 20).check({CORRELATION: 0.63})


def test_a_correlation_that_is_no_number_stops_too() -> None:
    with pytest.raises(RolloutMismatchError):
        TrainingWatch(0.98, 20).check({CORRELATION: float("nan")})


def test_only_the_first_step_is_held_against_the_limit() -> None:
    watch = TrainingWatch(0.98, 20)
    watch.check({})  # a step without the metric is not the first
    watch.check({CORRELATION: 0.9999})
    watch.check({CORRELATION: 0.5})


def test_a_term_that_never_changes_is_named_once() -> None:
    watch = TrainingWatch(0.98, 3)
    dead = [("vsi100k/object_counting", {"reward/format": 1.0, "reward/accuracy": a}) for a in (0.0, 1.0)]
    assert [watch.dead_terms(dead) for _ in range(5)] == [[], [], ["format"], [], []]


def test_a_term_that_changes_again_starts_anew() -> None:
    watch = TrainingWatch(0.98, 2)
    dead = [("s", {"reward/format": 1.0}), ("s", {"reward/format": 1.0})]
    alive = [("s", {"reward/format": 1.0}), ("s", {"reward/format": 0.0})]
    assert [watch.dead_terms(rows) for rows in (dead, alive, dead, dead)] == [[], [], [], ["format"]]
