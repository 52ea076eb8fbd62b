"""Several runs of one entry: hand-computed means, standard errors and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from verl_vsi.evaluation.score.seeds import Spread, by_entry, difference, differences

COUNT = "object_counting"
Make = Callable[..., Any]


def make_seeds(make_result: Make, name: str, *answers: list[str], **labels: Any) -> list[Any]:
    """A run a list of answers to counting (truth 4), every other task answered rightly."""
    return [make_result({COUNT: responses}, name=name, **labels) for responses in answers]


def test_an_error_holds_what_runs_and_what_questions_bring() -> None:
    spread = Spread((0.1, 0.2, 0.3), (0.03, 0.04, 0.05))
    assert spread.mean == pytest.approx(0.2)
    assert spread.of_runs == pytest.approx(0.1 / 3**0.5)
    assert spread.of_questions == pytest.approx(((9 + 16 + 25) / 3) ** 0.5 / 100)
    assert spread.error == pytest.approx((spread.of_runs**2 + spread.of_questions**2) ** 0.5)


def test_one_run_has_the_error_of_its_questions() -> None:
    assert Spread((0.5,), (0.02,)).error == pytest.approx(0.02)


def test_a_difference_pairs_runs_in_order(make_result: Make) -> None:
    base = make_seeds(make_result, "base", ["9", "9"], ["9", "9"])
    trained = make_seeds(make_result, "vsgrpo", ["4", "9"], ["4", "4"])
    result = difference("vsgrpo − base", trained, base)
    assert result.measures["score"].tasks[COUNT].values == (0.5, 1.0)
    assert result.measures["score"].overall.values == (pytest.approx(0.5 / 8), pytest.approx(1 / 8))


def test_one_run_stands_against_all(make_result: Make) -> None:
    base = make_seeds(make_result, "base", ["9", "9"])
    trained = make_seeds(make_result, "sft", ["4", "9"], ["4", "4"], ["9", "9"])
    assert difference("", trained, base).measures["score"].tasks[COUNT].values == (0.5, 1.0, 0.0)


def test_runs_are_paired_by_what_they_were_asked(make_result: Make) -> None:
    """Seeds may draw their own questions; a run without a counterpart is left out."""
    few, many = make_seeds(make_result, "a", ["4"], only=[COUNT], tasks="present"), make_seeds(make_result, "a", ["4"])
    other = make_seeds(make_result, "b", ["9", "9"]) + make_seeds(
        make_result, "b", ["9", "9"], only=[COUNT], tasks="present"
    )
    assert difference("", few + many, other).measures["score"].tasks[COUNT].values == (1.0, 1.0)
    assert len(difference("", few + many, other[:1] * 2).measures["score"].overall.values) == 1
    with pytest.raises(ValueError, match="asked the same questions"):
        difference("x", few, many)


def test_every_entry_is_compared_with_those_named_and_right_with_wrong_videos(make_result: Make) -> None:
    results = [
        *make_seeds(make_result, "base", ["9", "9"]),
        *make_seeds(make_result, "sft", ["4", "9"]),
        *make_seeds(make_result, "vsgrpo", ["4", "4"]),
        *make_seeds(make_result, "vsgrpo", ["9", "4"], condition="shuffled"),
    ]
    means = {d.name: d.measures["score"].tasks[COUNT].mean for d in differences(results, ["base", "sft"])}
    assert means == {
        "sft − base": 0.5,
        "vsgrpo − base": 1.0,
        "vsgrpo − sft": 0.5,
        "vsgrpo, right − wrong videos": 0.5,
    }
    with pytest.raises(ValueError, match="the results are base, sft"):
        differences(results, ["bse"])


def test_right_and_wrong_videos_are_compared_within_a_model(make_result: Make) -> None:
    """Each seed scores its better model on wrong videos; another seed's model is no counterpart."""
    results = [
        *make_seeds(make_result, "sft", ["4", "4"], model="s0/sft"),
        *make_seeds(make_result, "sft", ["9", "9"], model="s1/sft"),
        *make_seeds(make_result, "sft", ["9", "9"], model="s1/sft", condition="shuffled"),
    ]
    (within,) = differences(results, [])
    assert within.measures["score"].tasks[COUNT].values == (0.0,)


def test_one_name_scored_in_two_ways_is_not_averaged(make_result: Make) -> None:
    results = [make_result(name="a", preset=preset) for preset in ("official", "official", "harness")]
    assert {name: len(group) for name, group in by_entry(results).items()} == {
        "a, preset official, extraction official": 2,
        "a, preset harness, extraction lmms_eval": 1,
    }
