"""Means per task, and terms that teach nothing."""

from __future__ import annotations

from verl_vsi.training_metrics import constant_terms, means

ROWS = [
    ("vsi100k/object_counting", {"score": 2.0, "reward/accuracy": 1.0, "reward/format": 1.0, "pred": "4"}),
    ("vsi100k/object_counting", {"score": 1.0, "reward/accuracy": 0.0, "reward/format": 1.0, "pred": ""}),
    ("vsi100k/room_size_estimation", {"score": 1.5, "reward/accuracy": 0.5, "reward/format": 1.0, "pred": "9"}),
]


def test_every_part_has_a_mean_per_task_and_over_all() -> None:
    found = means(ROWS)
    assert found["train-aux/vsi100k/object_counting/score/mean"] == 1.5
    assert found["train-aux/vsi100k/room_size_estimation/reward/accuracy/mean"] == 0.5
    assert found["train-aux/all/reward/accuracy/mean"] == 0.5
    assert not any("pred" in name for name in found)


def test_no_rows_give_no_means() -> None:
    assert means([]) == {}


def test_a_constant_term_is_named() -> None:
    assert constant_terms(ROWS) == ["format"]
