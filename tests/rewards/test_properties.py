"""What holds for every response, however made.

CI takes a sample. A million generated responses and a thousand of 10 MB:

    pytest -m slow --timeout 7200 tests/rewards/test_properties.py
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vsi_support.responses import generate, generate_long

from verl_vsi.rewards.answers import EXTRACTIONS, extract
from verl_vsi.rewards.formats import FORMATS
from verl_vsi.rewards.metrics import NUMERIC, mean_relative_accuracy
from verl_vsi.rewards.vsgrpo import compute_score

ROWS = [
    ("vsi100k/object_counting", "4"),
    ("vsi100k/object_abs_distance", "2.5"),
    ("vsi100k/object_size_estimation", "113"),
    ("vsi100k/room_size_estimation", "47.9"),
    ("vsi100k/object_rel_distance", "trash can"),
    ("vsibench/route_planning", "B"),
]
TERMS = {"accuracy": 1.0, "format": 1.0, "length": 1.0}
CHOICES = list(itertools.product(EXTRACTIONS, NUMERIC, FORMATS, ("think", "observe", None)))
CASES = list(itertools.product(ROWS, CHOICES))


def holds(response: str, row: tuple[str, str], choice: tuple[str, str, str, str | None]) -> None:
    """No exception, and every part within its range."""
    extraction, numeric, format_, tag = choice
    parts = compute_score(
        row[0], response, row[1], None, terms=TERMS, extraction=extraction, numeric=numeric, format=format_, tag=tag
    )
    assert 0.0 <= float(parts["score"]) <= 3.0
    for name, value in parts.items():
        assert name in ("score", "pred") or 0.0 <= float(value) <= 1.0


def all_hold(responses: Iterable[str]) -> None:
    """Each response under the next row and choice of settings, in turn."""
    for response, (row, choice) in zip(responses, itertools.cycle(CASES), strict=False):
        holds(response, row, choice)


@given(st.text(), st.sampled_from(ROWS), st.sampled_from(CHOICES))
def test_any_text_scores_within_range(
    response: str, row: tuple[str, str], choice: tuple[str, str, str, str | None]
) -> None:
    holds(response, row, choice)


def test_generated_responses_score_within_range() -> None:
    all_hold(generate(20_000, 0))


@pytest.mark.slow
def test_a_million_generated_responses_score_within_range() -> None:
    all_hold(generate(1_000_000, 1))


ADVERSARIAL = [
    "9",
    "9,",
    "1.1.",
    "1 to ",
    "one and ",
    "5 ft 1 in ",
    "the answer is ",
    "<think></think><answer></answer>",
    "</think>\n",
    "<think>",
    "<answer>",
    "(A",
    "a\u0315\u0300",
    "\ufdfa",
    " ",
    "-",
]


READINGS = [("official", 0), ("lmms_eval", 0), ("robust", 0), ("robust", 4), ("robust", 5)]
"""The extractions, each on the kinds that it reads in its own way (number, word, letter: rows 0, 4, 5)."""


@pytest.mark.parametrize("motif", ADVERSARIAL)
def test_ten_megabytes_are_scored_in_linear_time(motif: str) -> None:
    """Quadratic time on 10 MB would take hours: the suite's time limit is the assertion."""
    response = "<think>" + motif * (10_000_000 // len(motif)) + "x"
    for (extraction, row), format_ in zip(READINGS, itertools.cycle(FORMATS), strict=False):
        holds(response, ROWS[row], (extraction, "mra", format_, "think"))


@pytest.mark.slow
def test_a_thousand_responses_of_ten_megabytes_score_within_range() -> None:
    all_hold(generate_long(1_000, 2))


def official_number(response: str) -> float | None:
    """VSI-Bench's extraction, written down anew: what no space interrupts, without full stops at its end."""
    piece = re.sub(r"\.*\Z", "", "".join(itertools.takewhile(lambda c: c != " ", response))).strip()
    try:
        return float(piece)
    except ValueError:
        return None


def official_score(answer: float, truth: float) -> float:
    """VSI-Bench's MRA, written down anew with arrays (section 3.2, with the code's `<=`)."""
    confidence = np.linspace(0.5, 0.95, 10)
    return float(np.mean(np.abs(np.float64(answer) - truth) / truth <= 1 - confidence))


def same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


def test_official_scores_equal_an_independent_writing() -> None:
    draw = np.random.default_rng(0)
    for response in generate(100_000, 3):
        read = extract("official", response, "number")
        assert same(None if read is None else float(read), official_number(response)), response
        answer, truth = float(draw.integers(0, 400)), float(draw.integers(1, 200)) / 10
        assert mean_relative_accuracy(answer / 10, truth) == official_score(answer / 10, truth)


WORDS = {"one": 1, "two": 2, "twenty": 20, "hundred": 100, "thousand": 1000}
"""The number words that are generated."""


def lmms_eval_number(response: str) -> float | None:
    """lmms-eval's extraction, written down anew: token by token."""
    total, current, running = 0, 0, False
    for token in re.findall(r"-?\d+(?:\.\d+)?|[a-z]+", response.strip().lower()):
        if token in WORDS:
            running, value = True, WORDS[token]
            if value == 1000:
                total, current = total + (current or 1) * 1000, 0
            else:
                current = (current or 1) * 100 if value == 100 else current + value
        elif not running and not token.isalpha():
            return float(token)
        elif running and token.isalpha() and token != "and":
            break
    return float(total + current) if running else None


def test_lmms_eval_numbers_equal_an_independent_writing() -> None:
    for response in generate(100_000, 4):
        read = extract("lmms_eval", response, "number")
        assert read == lmms_eval_number(response), response
