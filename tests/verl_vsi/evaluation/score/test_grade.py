from __future__ import annotations

from collections.abc import Callable

import pytest

from verl_vsi.evaluation.items import Item, Reply
from verl_vsi.evaluation.protocol import Protocol, make_protocol
from verl_vsi.evaluation.score.grade import Answer, grade


def graded(item: Item, text: str, protocol: Protocol) -> Answer:
    return grade(item, Reply(item.index, "ok", text), protocol)


@pytest.mark.parametrize(
    ("preset", "task", "truth", "text", "score", "unparsed"),
    [
        ("official", "object_counting", "4", "4", 1.0, False),
        ("official", "object_counting", "4", "4.", 1.0, False),
        ("official", "object_counting", "4", "3", 0.6, False),  # scoring vectors of the official functions
        ("official", "object_counting", "4", "There are 4 chairs", 0.0, True),
        ("harness", "object_counting", "4", "There are 4 chairs", 1.0, False),
        ("paper", "object_counting", "4", "There are four chairs", 1.0, False),
        ("official", "route_planning", "A", "a. chair", 1.0, False),
        ("official", "route_planning", "A", "(A)", 0.0, True),
        ("official", "route_planning", "A", "The answer is A", 0.0, True),
        ("official", "route_planning", "A", "B", 0.0, False),  # wrong, but read
        ("official", "object_counting", "4", "", 0.0, True),
    ],
)
def test_a_score_is_the_presets(
    make_item: Callable[..., Item], preset: str, task: str, truth: str, text: str, score: float, unparsed: bool
) -> None:
    answer = graded(make_item(0, task, truth), text, make_protocol(preset))
    assert (answer.score, answer.unparsed) == (pytest.approx(score), unparsed)


def test_the_papers_reward_stands_beside_the_benchmarks_score(make_item: Callable[..., Item]) -> None:
    answer = graded(make_item(0, "object_size_estimation", "100"), "80", make_protocol("official"))
    assert answer.score == pytest.approx(0.6)  # 20 % off meets six of ten tolerances, as 120 does
    assert answer.reward == pytest.approx(0.75)  # 1 - 20 / 80
    assert answer.format is None


def test_think_answers_are_held_to_their_format(make_item: Callable[..., Item]) -> None:
    think, item = make_protocol("paper", "think"), make_item(0, "object_counting", "4")
    assert graded(item, "<think>I see them</think> <answer>4</answer>", think).format == 1.0
    assert graded(item, "4", think).format == 0.0
