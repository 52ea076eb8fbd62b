"""Literal scores, and what holds for all of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.rewards.metrics import NUMERIC, exact_match, inverse, mean_relative_accuracy, min_relative

numbers = st.floats(allow_nan=True, allow_infinity=True)
positive = st.floats(min_value=1e-6, max_value=1e6)


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        (4, 4, 1.0),  # the truth
        (5, 4, 0.75),  # d = 1/4: the smaller is the truth
        (4, 5, 0.75),  # d = 1/4: the smaller is the answer
        (8, 4, 0.0),  # twice
        (2, 4, 0.0),  # half
        (400, 4, 0.0),  # wild
        (0, 4, 0.0),  # no relative difference to 0
        (-4, 4, 0.0),  # nor to less
        (0, 0, 1.0),  # but equal is equal
        (math.inf, 4, 0.0),
        (math.nan, 4, 0.0),
    ],
)
def test_min_relative_is_one_less_the_papers_difference(answer: float, truth: float, score: float) -> None:
    assert min_relative(answer, truth) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [(4, 4, 1.0), (5, 4, 0.8), (8, 4, 0.5), (2, 4, 0.5), (400, 4, 0.01), (0, 4, 0.0), (0, 0, 1.0), (math.inf, 4, 0.0)],
)
def test_inverse_falls_off_without_end(answer: float, truth: float, score: float) -> None:
    assert inverse(answer, truth) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        (105, 100, 1.0),  # on the narrowest tolerance: <= counts
        (110, 100, 0.9),
        (120, 100, 0.6),  # .7 on paper: 1 - .8 is a hair below .2
        (145, 100, 0.1),  # .2 on paper
        (150, 100, 0.1),
        (150.1, 100, 0.0),
        (0, 100, 0.0),
        (-100, 100, 0.0),
        (math.nan, 100, 0.0),
        (0, 0, 1.0),
    ],
)
def test_mra_counts_tolerances_as_the_benchmark_does(answer: float, truth: float, score: float) -> None:
    assert mean_relative_accuracy(answer, truth) == score


@given(numbers, numbers)
def test_every_score_lies_between_0_and_1(answer: float, truth: float) -> None:
    for metric in NUMERIC.values():
        assert 0.0 <= metric(answer, truth) <= 1.0


@given(positive)
def test_the_truth_scores_1(truth: float) -> None:
    for metric in NUMERIC.values():
        assert metric(truth, truth) == 1.0


@given(positive, positive)
def test_the_papers_difference_is_symmetric(a: float, b: float) -> None:
    assert min_relative(a, b) == min_relative(b, a)


@given(positive, st.floats(1, 10), st.floats(1, 10))
def test_a_nearer_answer_never_scores_less(truth: float, one: float, other: float) -> None:
    near, far = sorted([one, other])
    for metric in NUMERIC.values():
        assert metric(truth * near, truth) >= metric(truth * far, truth)


def test_words_match_but_for_case() -> None:
    assert (exact_match("Sink", "sink"), exact_match("sinks", "sink")) == (1.0, 0.0)
