from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.data_adapters.datasets.dpo import FACTORS, offered, rejected_answer, wrong_number

Row = dict[str, Any]
WHICH = "Which of these objects (sink, pillow, bed, guitar)is the closest to the bicycle?"


def row(
    truth: str, kind: str, question: str = "What?", options: tuple[str, ...] = (), index: int = 0
) -> dict[str, Any]:
    about = {"kind": kind, "question": question, "options": list(options), "index": index, "scene_id": "scene0000_00"}
    return {"reward_model": {"ground_truth": truth}, "extra_info": about}


@pytest.mark.parametrize(
    ("row", "allowed"),
    [
        (row("left", "word", "Is the bicycle to the left or the right of the shower?"), {"right"}),
        (row("right", "word"), {"left"}),
        (
            row("sink", "word", "Which of these objects (sink, pillow, bed, guitar)is the closest?"),
            {"pillow", "bed", "guitar"},
        ),
        (row("B", "choice", options=("A. chair", "B. bed", "C. sofa")), {"A", "C"}),
        (row("1", "number"), {"2", "3"}),  # a count of one can't be halved
    ],
)
def test_the_wrong_answer_is_one_of_the_other_answers(row: Row, allowed: set[str]) -> None:
    drawn = {rejected_answer(row, seed) for seed in range(60)}
    assert drawn == allowed


@given(st.decimals(min_value="0.1", max_value=500, places=1), st.integers(0, 2**32))
def test_a_wrong_number_is_off_by_the_factor_and_looks_alike(truth: Any, seed: int) -> None:
    text = wrong_number(str(truth), random.Random(seed))
    value, wrong = float(truth), float(text)
    assert wrong != value
    assert wrong > 0
    assert len(text.partition(".")[2]) == 1
    assert max(value / wrong, wrong / value) <= max(FACTORS[1] + 0.1 / min(value, wrong), (value + 0.1) / value) + 1e-6


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_a_wrong_count_is_a_whole_number(truth: int, seed: int) -> None:
    text = wrong_number(str(truth), random.Random(seed))
    assert text.isdigit()
    assert int(text) not in (0, truth)


def test_one_row_and_seed_give_one_answer_and_rows_differ() -> None:
    assert rejected_answer(row("100", "number"), 3) == rejected_answer(row("100", "number"), 3)
    assert len({rejected_answer(row("100", "number", index=i)) for i in range(20)}) > 5


def test_a_question_without_another_answer_is_named() -> None:
    with pytest.raises(ValueError, match="Which\\?"):
        rejected_answer(row("sink", "word", "Which?"))


def test_objects_in_brackets_are_offered_and_remarks_are_not() -> None:
    assert offered("Which of these objects (sink, pillow)is the closest to the bed (in meters)?") == ["sink", "pillow"]
    assert offered("What is the size of this room (in square meters)?") == []
