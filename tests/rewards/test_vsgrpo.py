"""What verl is handed back for a response."""

from __future__ import annotations

from typing import Any

import pytest

from verl_vsi.rewards.vsgrpo import compute_score

COUNT, DIRECTION, CHOICE = "vsi100k/object_counting", "vsi100k/object_rel_direction_easy", "vsibench/route_planning"
GOOD = "<think>one, two, four</think><answer>4</answer>"
HACKED = "<think></think><answer>4</answer>" * 20


@pytest.mark.parametrize(
    ("source", "response", "truth", "settings", "score"),
    [
        (COUNT, "4", "4", {}, 1.0),  # vanilla: no format reward
        (COUNT, "5", "4", {}, 0.75),
        (COUNT, "5", "4", {"numeric": "inverse"}, 0.8),
        (COUNT, "5", "4", {"numeric": "mra"}, 0.6),
        (COUNT, "5", "4", {"numeric": "exact"}, 0.0),
        (DIRECTION, "Left.", "left", {}, 1.0),
        (DIRECTION, "right", "left", {}, 0.0),
        (CHOICE, "(B)", "B", {}, 1.0),
        (CHOICE, "(B)", "B", {"extraction": "official"}, 0.0),
        (COUNT, GOOD, "4", {"tag": "think"}, 2.0),  # the paper's plain sum
        (COUNT, GOOD, "4", {"tag": "observe"}, 1.0),
        (COUNT, GOOD, "4", {"tag": "think", "terms": {"accuracy": 1.0, "format": 0.5}}, 1.5),
        (COUNT, "4", "4", {"tag": "think"}, 1.0),  # right, unformatted
        (COUNT, HACKED, "4", {"tag": "think"}, 1.0),  # strict: no reward for repeated tags
        (COUNT, HACKED, "4", {"tag": "think", "format": "r1v"}, 2.0),  # loose: the hack pays
        (COUNT, "4", "4", {"terms": {}}, 0.0),
    ],
)
def test_the_score_is_the_weighted_sum(
    source: str, response: str, truth: str, settings: dict[str, Any], score: float
) -> None:
    assert compute_score(source, response, truth, **settings)["score"] == pytest.approx(score)


def test_the_papers_hack_pays_with_length_and_the_loose_format_only() -> None:
    loose = {"tag": "think", "terms": {"accuracy": 1.0, "format": 1.0, "length": 1.0}, "format": "r1v"}
    honest, hacked = (float(compute_score(COUNT, text, "4", **loose)["score"]) for text in (GOOD, HACKED))
    assert hacked > honest
    honest, hacked = (float(compute_score(COUNT, text, "4", tag="think")["score"]) for text in (GOOD, HACKED))
    assert hacked < honest


def test_every_part_comes_back() -> None:
    assert compute_score(COUNT, "<think>hm</think> <answer>five</answer>", "4", tag="think") == {
        "score": 1.75,
        "acc": 0.6,  # the benchmark's MRA
        "reward/accuracy": 0.75,
        "reward/format": 1.0,
        "parse_failure": 0.0,
        "format_failure": 0.0,
        "pred": "5.0",
    }


def test_failures_are_counted() -> None:
    parts = compute_score(COUNT, "I can't tell", "4", tag="think")
    assert (parts["parse_failure"], parts["format_failure"], parts["score"], parts["acc"]) == (1.0, 1.0, 0.0, 0.0)


def test_rows_of_every_kind_have_the_same_keys() -> None:
    """verl wants it (its validation fills what is missing, its agent loop doesn't)."""
    rows = [(COUNT, "4", "4"), (COUNT, "", "4"), (DIRECTION, "left", "left"), (CHOICE, "what", "B")]
    keys = {tuple(compute_score(*row, tag="observe")) for row in rows}
    assert len(keys) == 1


@pytest.mark.parametrize("response", [None, "", b"4", b"\xff\xfe", "\x00", "\ud800", "4" * 100_000])
def test_a_bad_response_is_data(response: Any) -> None:
    parts = compute_score(COUNT, response, "4", tag="think")
    assert 0.0 <= float(parts["score"]) <= 2.0
    assert len(str(parts["pred"])) <= 80


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((COUNT, "4", "four", {"index": 7}), r"row 7 of vsi100k/object_counting: its truth 'four' is not a number"),
        ((COUNT, "4", "nan", None), r"its truth 'nan' is not a number"),
        ((COUNT, "4", "4", {"kind": "colour"}), r"kind 'colour' is unknown; one of choice, number, word"),
    ],
)
def test_a_bad_row_is_a_mistake(row: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_score(*row)


def test_a_misspelt_setting_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="numerics"):
        compute_score(COUNT, "4", "4", numerics="mra")


def test_the_rows_own_task_and_kind_win() -> None:
    row = {"task": "object_size_estimation", "kind": "number", "options": None}
    assert compute_score("mine", "1.2 m", "120", row)["score"] == 1.0
    assert compute_score("mine", "B", "b", {"kind": "word"})["score"] == 1.0


def test_an_options_words_stand_for_its_letter() -> None:
    assert compute_score(CHOICE, "chair", "B", {"options": ["A. table", "B. chair"]})["score"] == 1.0
