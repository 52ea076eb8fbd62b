"""The official extraction and lmms-eval's, bit for bit, on answers recorded from their own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.rewards.answers import extract
from verl_vsi.rewards.metrics import exact_match, mean_relative_accuracy

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "scoring_vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["letters"], ids=lambda v: repr(v["response"]))
@pytest.mark.parametrize("name", ["official", "lmms_eval"])
def test_letters_are_read_and_scored_as_recorded(name: str, vector: dict[str, Any]) -> None:
    read = extract(name, vector["response"], "choice")
    assert read == vector["read"]
    assert exact_match(str(read), vector["truth"]) == vector["score"]


@pytest.mark.parametrize("vector", VECTORS["numbers"], ids=lambda v: f"{v['response']!r}-{v['truth']}")
@pytest.mark.parametrize("name", ["official", "lmms_eval"])
def test_numbers_are_read_and_scored_as_recorded(name: str, vector: dict[str, Any]) -> None:
    read = extract(name, vector["response"], "number")
    recorded = vector[name]
    assert (str(read) if isinstance(recorded["read"], str) else read) == recorded["read"]
    score = 0.0 if read is None else mean_relative_accuracy(float(read), float(vector["truth"]))
    assert score == recorded["score"]


def test_every_recorded_answer_is_here() -> None:
    assert (len(VECTORS["letters"]), len(VECTORS["numbers"])) == (22, 58)
