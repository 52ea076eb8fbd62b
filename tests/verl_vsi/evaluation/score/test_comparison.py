from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.evaluation.score.comparison import compare
from verl_vsi.evaluation.score.result import read_result, write_result

MakeResult = Callable[..., Any]


def test_equal_results_differ_in_nothing(make_result: MakeResult) -> None:
    same = compare(make_result(), make_result())
    assert same.labels == {}
    assert (same.better, same.worse, same.both) == (0, 0, 20)
    assert same.differences["score"].overall.mean == 0.0


def test_the_knob_that_differs_is_named_first(make_result: MakeResult) -> None:
    labels = compare(make_result(), make_result(preset="harness", data={"sha256": "xyz"})).labels
    assert labels["extraction"] == ("official", "lmms_eval")
    assert labels["data.sha256"] == ("abc", "xyz")
    assert set(labels) == {"extraction", "preset", "data.sha256"}


def test_a_stored_result_that_says_harness_was_read_by_lmms_eval(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(preset="harness")
    write_result(tmp_path / "new.json", result)
    (tmp_path / "old.json").write_text(
        (tmp_path / "new.json").read_text().replace('"extraction": "lmms_eval"', '"extraction": "harness"')
    )
    assert read_result(tmp_path / "old.json").labels == read_result(tmp_path / "new.json").labels


def test_the_difference_is_paired_per_question(make_result: MakeResult) -> None:
    a = make_result({"object_counting": ["3", "4"]})  # .6 and 1
    b = make_result({"object_counting": ["4", "4"], "route_planning": ["B", "A"]})
    result = compare(a, b)
    assert result.differences["score"].tasks["object_counting"].mean == pytest.approx(0.2)
    assert result.differences["score"].tasks["route_planning"].mean == pytest.approx(-0.5)
    assert result.differences["score"].overall.mean == pytest.approx((0.2 - 0.5) / 8)
    assert (result.better, result.worse) == (1, 1)


def test_questions_are_matched_by_what_they_ask_not_by_their_place(make_result: MakeResult) -> None:
    a, b = make_result(), make_result()
    reordered = [replace(answer, index=99 - n) for n, answer in enumerate(reversed(b.answers))]
    assert compare(a, replace(b, answers=reordered)).both == 20


def test_a_part_of_the_set_is_compared_on_what_both_have(make_result: MakeResult) -> None:
    part = make_result(tasks="present", only=["object_counting"])
    result = compare(make_result(), part)
    assert (result.both, result.only_a, result.only_b) == (2, 18, 0)
    assert result.task_set.name == "present"


def test_nothing_in_common_is_said_with_both_sets(make_result: MakeResult) -> None:
    a = make_result(only=["object_counting"], tasks="present")
    b = make_result(only=["route_planning"], tasks="present", set="other")
    with pytest.raises(ValueError, match=r"no question in common.*test \(abc\) and other"):
        compare(a, b)
