"""Responses of every kind against every extraction: an answer or none, in bounded time, safe to log.

A core runs always. Two hundred thousand:

    pytest -m slow tests/hostile/test_responses.py
"""

from __future__ import annotations

import itertools
import json
import math
import resource
import time

import pytest
from vsi_support.responses import generate

from verl_vsi.rewards.answers import EXTRACTIONS
from verl_vsi.rewards.metrics import exact_match
from verl_vsi.rewards.terms import RewardSettings
from verl_vsi.rewards.vsgrpo import grade, respond

ROWS = [
    ("vsi100k/object_counting", "4", {}),
    ("vsi100k/object_abs_distance", "2.5", {}),
    ("vsi100k/object_size_estimation", "113", {}),
    ("vsi100k/room_size_estimation", "47.9", {}),
    ("vsi100k/object_rel_distance", "sink", {}),
    ("vsibench/object_rel_distance", "B", {"options": ["A. table", "B. sink", "C. bed", "D. lamp"]}),
]
RIVALS = {"sink": "left", "B": "A"}
"""Another truth that a row of words or letters could have."""

MOST_SECONDS = 0.5
"""Of processor time, for one response; the median is some tens of microseconds. Quadratic time would take minutes."""

MOST_MEBIBYTES = 512
"""By which the process may grow over all responses together."""


def check_all(number: int, seed: int) -> None:
    """Each response under the next row and the next extraction, in turn."""
    settings = [RewardSettings(extraction=name) for name in EXTRACTIONS]
    before = _peak_mebibytes()
    turns = itertools.cycle(itertools.product(ROWS, settings))
    for text, ((data_source, truth, extra_info), setting) in zip(generate(number, seed), turns, strict=False):
        start = time.process_time()
        response = respond(data_source, text, truth, extra_info, setting)
        parts = grade(response)
        assert time.process_time() - start < MOST_SECONDS, text
        _holds(text, parts)
        if isinstance(response.answer, str):
            assert exact_match(response.answer, truth) + exact_match(response.answer, RIVALS[truth]) <= 1, text
    assert _peak_mebibytes() - before < MOST_MEBIBYTES


def _holds(text: str, parts: dict[str, float | str]) -> None:
    for name, value in parts.items():
        assert name == "pred" or (math.isfinite(float(value)) and 0.0 <= float(value) <= 2.0), (text, name, value)
    assert str(parts["pred"]).isprintable(), text
    assert len(str(parts["pred"])) <= 80, text
    json.dumps(parts, allow_nan=False, ensure_ascii=False).encode()


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_generated_responses_end_in_an_answer_or_none() -> None:
    check_all(6_000, 13)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_thousand_responses_end_in_an_answer_or_none() -> None:
    check_all(200_000, 14)


LONG = [
    "<think>" * 50_000,
    "<answer>" * 50_000,
    "<answer></answer>" * 50_000,
    "hundred " * 200_000,
    "1/" * 500_000,
    "3 and a " * 100_000,
    "\\frac{" * 100_000,
    "$" * 1_000_000,
    "{" * 1_000_000,
    "to the left of " * 50_000,
    "the closest object to the " * 50_000,
    "A is correct. B is " * 50_000,
    "\u0315\u0300" * 200_000,
    "\ufdfa" * 100_000,
    "\n" * 1_000_000,
    "9" * 1_000_000,
    "1,234," * 100_000,
    "5 ft 1 in " * 100_000,
    "\ud800" * 100_000,
    "not " * 200_000,
]
"""One motif, over and over: whatever an expression could choke on."""


@pytest.mark.parametrize("text", LONG, ids=lambda text: repr(text[:20]))
@pytest.mark.parametrize("name", EXTRACTIONS)
def test_a_long_response_takes_no_longer_than_reading_it(name: str, text: str) -> None:
    for data_source, truth, extra_info in ROWS:
        start = time.process_time()
        parts = grade(respond(data_source, text, truth, extra_info, RewardSettings(extraction=name)))
        assert time.process_time() - start < 10 * MOST_SECONDS
        _holds("", parts)


ENDINGS = ["", " ", "A", "1", "left", "}", "</answer>"]
MIDDLES = sorted({text[:40] for text in LONG})


@pytest.mark.parametrize("ending", ENDINGS)
def test_within_what_is_read_no_expression_backtracks_for_long(ending: str) -> None:
    """`robust` reads 1,000 characters: on these, an expression that tries all ways would still take hours."""
    for middle, (data_source, truth, extra_info) in itertools.product(MIDDLES, ROWS):
        start = time.process_time()
        grade(respond(data_source, (middle * 1000)[:990] + ending, truth, extra_info, RewardSettings()))
        assert time.process_time() - start < MOST_SECONDS, middle
