"""Reward means per task, terms that teach nothing, and a rollout that does not see what the actor sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from verl_vsi.training_metrics import (
    CORRELATION,
    RolloutMismatchError,
    TrainingMonitor,
    constant_terms,
    reward_means,
    sampled,
    step_line,
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


def test_a_step_is_a_line() -> None:
    metrics = reward_means(ROWS) | {
        "critic/score/mean": 1.4567,
        "actor/kl_loss": 0.00214,
        "response_length/mean": 14.2,
        "timing_s/step": 61.7,
        "val-core/vsi100k/object_counting/acc/mean@1": 0.25,
    }
    assert step_line(12, 60, metrics) == (
        "verl-vsi: step 12 of 60: reward 1.457, accuracy 0.500, format 1.000, KL 0.0021, an answer has 14 tokens, "
        "the step took 62 s, held out 25.0 % (mean over data sources)"
    )


def test_a_step_that_measured_nothing_is_a_line_too() -> None:
    assert step_line(1, 2, {}) == "verl-vsi: step 1 of 2: "


class Batch:
    def __init__(self, keys: list[str]) -> None:
        self.keys = keys

    def select_keys(self, keys: list[str]) -> Batch:
        return Batch(keys)


@pytest.mark.parametrize(
    ("checks", "count"), [({"sample_questions": 1}, 3), ({"sample_questions": 9}, 6), ({"sample_questions": None}, 6)]
)
def test_the_answers_to_the_first_questions_are_written(checks: dict[str, int | None], count: int) -> None:
    trainer = SimpleNamespace(config=OmegaConf.create({"vsi": {"checks": checks}}))
    batch = Batch([f"{question}_{answer}_0" for question in ("a_b", "c") for answer in range(3)])
    assert sampled(trainer, batch).keys == batch.keys[:count]
