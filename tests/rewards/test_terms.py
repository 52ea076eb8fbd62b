"""Terms of one's own, and settings that make no sense."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.rewards import vsgrpo
from verl_vsi.rewards.terms import TERMS, Response, RewardSettings, term


@pytest.fixture
def my_terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "my_reward_terms.py").write_text(
        textwrap.dedent(
            '''
            from verl_vsi.rewards.terms import Response, term

            @term("short")
            def short(response: Response) -> float:
                """1 for an answer of at most three words."""
                return float(len(response.text.split()) <= 3)
            '''
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_reward_terms"
    TERMS.pop("short", None)
    sys.modules.pop("my_reward_terms", None)


def test_a_term_of_ones_own_is_weighed_in(my_terms: str) -> None:
    parts = vsgrpo.compute_score(
        "vsi100k/object_counting", "4 chairs", "4", modules=[my_terms], terms={"accuracy": 1.0, "short": 0.2}
    )
    assert (parts["score"], parts["reward/short"]) == (1.2, 1.0)


def test_a_decorated_term_is_still_its_function(my_terms: str) -> None:
    RewardSettings(modules=[my_terms])
    assert TERMS["short"] is sys.modules[my_terms].short  # so that it pickles by name


def test_a_taken_name_is_refused() -> None:
    def accuracy(response: Response) -> float:
        return 0.0

    with pytest.raises(ValueError, match=r"'accuracy' is verl_vsi\.rewards\.terms\.accuracy: choose another name"):
        term("accuracy")(accuracy)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"terms": {"acuracy": 1.0}}, "reward term 'acuracy' is unknown; one of accuracy, format, length"),
        ({"terms": {"accuracy": "high"}}, "accuracy: its weight must be a finite number, got 'high'"),
        ({"terms": {"accuracy": float("nan")}}, "accuracy: its weight must be a finite number, got nan"),
        ({"numeric": "l2"}, "reward numeric 'l2' is unknown; one of exact, inverse, min_relative, mra"),
        ({"extraction": "gpt"}, "reward extraction 'gpt' is unknown; one of lmms_eval, official, robust"),
        ({"format": "loose"}, "reward format 'loose' is unknown; one of r1v, strict"),
        ({"length_cap": 0}, "length_cap must be at least 1 character, got 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardSettings(**settings)


def test_the_former_name_of_an_extraction_means_the_same() -> None:
    assert RewardSettings(extraction="harness") == RewardSettings(extraction="lmms_eval")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ImportError, match="no_such_module"):
        RewardSettings(modules=["no_such_module"])
