from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from verl_vsi.evaluation.items import Item
from verl_vsi.evaluation.score.baselines import baselines, choices
from verl_vsi.evaluation.task_columns import PRESENT


@pytest.fixture
def counts(make_item: Callable[..., Item]) -> list[Item]:
    return [make_item(i, "object_counting", truth) for i, truth in enumerate(["2", "2", "3", "4"])]


def score(items: list[Item], name: str, source: list[Item] | None = None) -> float:
    return baselines(items, PRESENT, source=source)[name]["score"].overall.mean


def test_the_most_frequent_answer_is_scored_on_every_question(counts: list[Item]) -> None:
    # 2 for each: 1, 1, MRA(2, 3) = .4, MRA(2, 4) = .1
    assert score(counts, "frequency") == pytest.approx((1 + 1 + 0.4 + 0.1) / 4)


def test_the_best_constant_is_at_least_as_good(counts: list[Item]) -> None:
    # 3 for each: MRA(3, 2) = .1 twice, 1, MRA(3, 4) = .6: worse than 2
    assert score(counts, "best_constant") == pytest.approx(score(counts, "frequency"))


def test_training_answers_may_be_counted_instead(counts: list[Item], make_item: Callable[..., Item]) -> None:
    threes = [make_item(9, "object_counting", "3")]
    assert score(counts, "frequency", threes) == pytest.approx((0.1 + 0.1 + 1 + 0.6) / 4)


def test_chance_among_four_letters_is_a_quarter(make_item: Callable[..., Item]) -> None:
    assert score([make_item(i, "route_planning", "ABCD"[i % 4]) for i in range(8)], "chance") == pytest.approx(0.25)


def test_words_are_chosen_among_those_that_the_question_names(make_item: Callable[..., Item]) -> None:
    near = make_item(0, "object_rel_distance", "sink", kind="word")
    near = replace(
        near, options=(), question="Which of these objects (sink, pillow, bed, guitar)is the closest to the rug?"
    )
    assert choices(near) == ["sink", "pillow", "bed", "guitar"]
    assert score([near], "chance") == pytest.approx(0.25)
    side = replace(
        near, task="object_rel_direction_easy", truth="left", question="is it to the left or the right of it?"
    )
    assert choices(side) == ["left", "right"]


def test_a_place_among_the_options_is_a_constant_too(make_item: Callable[..., Item]) -> None:
    def near(index: int, names: str, truth: str) -> Item:
        return replace(
            make_item(index, "object_rel_distance", truth, kind="word"),
            options=(),
            question=f"Which of these objects ({names})is the closest to the rug?",
        )

    always_second = [near(0, "a, b, c, d", "b"), near(1, "e, f, g, h", "f"), near(2, "i, j, k, l", "j")]
    assert score(always_second, "best_constant") == 1.0
    assert score(always_second, "frequency") == pytest.approx(1 / 3)
