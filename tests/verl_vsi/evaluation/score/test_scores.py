from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.data_adapters.schema import TASKS
from verl_vsi.evaluation.score.scores import paired, summarise
from verl_vsi.evaluation.task_columns import COLUMNS, PRESENT, VSI100K, VSIBENCH, MissingTaskError, declared_by

# Two answers a type, by hand; the directions have 1, 2 and 4 questions, so that equal weights differ from pooling.
BY_HAND = {
    "object_counting": [1.0, 0.5],  # .75
    "object_abs_distance": [0.0, 0.2],  # .1
    "object_size_estimation": [0.9, 0.7],  # .8
    "room_size_estimation": [0.4],  # .4
    "object_rel_distance": [1.0, 0.0],  # .5
    "object_rel_direction_easy": [1.0],  # 1
    "object_rel_direction_medium": [0.0, 1.0],  # .5
    "object_rel_direction_hard": [0.0, 0.0, 0.0, 1.0],  # .25
    "route_planning": [0.0],  # 0
    "obj_appearance_order": [1.0, 1.0, 0.0, 0.0],  # .5
}
MEANS = [0.75, 0.1, 0.8, 0.4, 0.5, (1 + 0.5 + 0.25) / 3, 0.0, 0.5]


def flat(by_task: dict[str, list[float]]) -> tuple[list[str], list[float]]:
    return [t for t, v in by_task.items() for _ in v], [x for v in by_task.values() for x in v]


def test_aggregation_matches_the_case_worked_by_hand() -> None:
    scores = summarise(*flat(BY_HAND), VSIBENCH)
    assert [scores.tasks[c].mean for c in COLUMNS] == pytest.approx(MEANS)
    assert scores.overall.mean == pytest.approx(sum(MEANS) / 8)
    assert scores.tasks["object_rel_direction"].n == 7
    assert scores.overall.n == 21


@pytest.mark.parametrize("lacking", TASKS)
def test_an_average_with_a_task_missing_is_refused_by_name(lacking: str) -> None:
    rest = {k: v for k, v in BY_HAND.items() if k != lacking}
    with pytest.raises(MissingTaskError, match=lacking):
        summarise(*flat(rest), VSIBENCH)


def test_the_tasks_present_can_be_averaged_when_that_is_said() -> None:
    some = {k: BY_HAND[k] for k in ("object_counting", "room_size_estimation")}
    assert summarise(*flat(some), PRESENT).overall.mean == pytest.approx((0.75 + 0.4) / 2)


def test_six_tasks_are_enough_for_vsi100k() -> None:
    six = {k: BY_HAND[k] for k in VSI100K.types or ()}
    assert summarise(*flat(six), VSI100K).overall.mean == pytest.approx((0.75 + 0.1 + 0.8 + 0.4 + 0.5 + 1.0) / 6)
    with pytest.raises(MissingTaskError, match="route_planning"):
        summarise(*flat(six), VSIBENCH)


def test_no_question_at_all_is_refused() -> None:
    with pytest.raises(MissingTaskError):
        summarise([], [], PRESENT)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match="cooking"):
        summarise(["cooking"], [1.0], PRESENT)


def test_the_standard_error_is_the_textbook_one() -> None:
    values = [0.0, 0.0, 1.0, 1.0]
    scores = summarise(["object_counting"] * 4 + ["room_size_estimation"] * 4, values * 2, PRESENT)
    one = np.std(values, ddof=1) / 2
    assert scores.tasks["object_counting"].se == pytest.approx(one)
    assert scores.overall.se == pytest.approx(np.sqrt(2 * one**2) / 2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0
    for trial in range(200):
        values = rng.random(60) < 0.3
        estimate = summarise(
            ["object_counting"] * 60, values.astype(float).tolist(), PRESENT, seed=trial, draws=400
        ).overall
        inside += estimate.low <= 0.3 <= estimate.high
    assert 0.89 <= inside / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    assert summarise(*flat(BY_HAND), VSIBENCH, seed=3) == summarise(*flat(BY_HAND), VSIBENCH, seed=3)
    assert summarise(*flat(BY_HAND), VSIBENCH, seed=3) != summarise(*flat(BY_HAND), VSIBENCH, seed=4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_mean_lies_between_its_questions_and_its_interval_around_it(values: list[float]) -> None:
    one = summarise(["object_counting"] * len(values), values, PRESENT, draws=50).overall
    assert min(values) - 1e-9 <= one.mean <= max(values) + 1e-9
    assert min(values) - 1e-9 <= one.low <= one.high <= max(values) + 1e-9


def test_a_paired_difference_is_the_difference_of_the_averages_with_a_narrower_interval() -> None:
    rng = np.random.default_rng(1)
    first = rng.random(300)
    second = np.clip(first + 0.05, 0, 1)
    tasks = ["object_counting"] * 300
    a, b = summarise(tasks, first.tolist(), PRESENT), summarise(tasks, second.tolist(), PRESENT)
    difference = paired(tasks, first.tolist(), second.tolist(), PRESENT)
    assert difference.overall.mean == pytest.approx(b.overall.mean - a.overall.mean)
    assert difference.overall.se < 0.3 * a.overall.se


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["vsibench/object_counting", "vsibench/route_planning"], "vsibench"),
        (["vsi100k/object_counting"], "vsi100k"),
        (["vsi100k/object_counting", "vsibench/object_counting"], "present"),  # mixed
        (["mine/object_counting"], "present"),  # foreign
    ],
)
def test_rows_declare_their_task_set(sources: list[str], name: str) -> None:
    assert declared_by(sources).name == name
