"""The check before training passes what works, and names what doesn't."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from verl_vsi.rewards.answers import EXTRACTIONS
from verl_vsi.rewards.formats import FORMATS, MODE_TAGS
from verl_vsi.rewards.metrics import NUMERIC
from verl_vsi.rewards.selftest import KNOWN_ANSWERS, check
from verl_vsi.rewards.terms import TERMS, Response, term


def test_there_are_eight() -> None:
    assert len(KNOWN_ANSWERS) == 8


@pytest.mark.parametrize(("numeric", "format_", "mode"), list(itertools.product(NUMERIC, FORMATS, MODE_TAGS)))
def test_every_sound_choice_passes(numeric: str, format_: str, mode: str) -> None:
    assert check({"numeric": numeric, "format": format_, "tag": MODE_TAGS[mode]}, mode) == []


@pytest.mark.parametrize("extraction", EXTRACTIONS)
def test_every_extraction_passes_in_vanilla_mode(extraction: str) -> None:
    assert check({"extraction": extraction}, "vanilla") == []


@pytest.mark.parametrize(
    ("settings", "mode", "message"),
    [
        ({"extraction": "official", "tag": "think"}, "think", "parse_failure is 1.0, expected 0.0"),  # can't read tags
        ({"tag": None}, "think", "mode think writes tag think, but the reward looks for None"),
        ({"tag": "think"}, "observe", "mode observe writes tag observe, but the reward looks for think"),
        ({"terms": {"speed": 1.0}}, None, "reward term 'speed' is unknown"),
        ({"modules": ["no_such_module"]}, None, "No module named 'no_such_module'"),
        ({"numerics": "mra"}, None, "numerics"),
        ({"terms": {}}, None, "the right answer scores 0.0, the wrong answer 400 scores 0.0"),
        ({"terms": {"accuracy": 0.0}}, None, "give accuracy a weight above 0"),
        ({"terms": {"accuracy": -1.0, "format": 1.0}, "tag": "think"}, "think", "give accuracy a weight above 0"),
        ({"terms": {"format": 1.0}, "tag": "think"}, "think", "the right answer scores 1.0"),
        ({"terms": {"accuracy": 1.0, "wrongness": 2.0}}, None, "the right answer scores 1.0, the wrong answer 400"),
    ],
)
def test_what_would_train_to_nothing_is_named(
    settings: dict[str, Any], mode: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TERMS, "wrongness", _wrongness)
    assert message in "\n".join(check(settings, mode))


def _wrongness(response: Response) -> float:
    return 1.0 - TERMS["accuracy"](response)


@pytest.mark.parametrize(
    ("value", "message"), [(7.0, "outside [0, 1]"), (float("nan"), "outside"), ("?", "ValueError")]
)
def test_a_broken_term_is_named(value: Any, message: str) -> None:
    @term("broken")
    def broken(response: Response) -> float:
        return float(value)

    try:
        failures = check({"terms": {"accuracy": 1.0, "broken": 1.0}})
    finally:
        del TERMS["broken"]
    assert len(failures) == len(KNOWN_ANSWERS)
    assert all(message in failure for failure in failures)
