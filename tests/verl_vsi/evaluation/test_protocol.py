from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from verl_vsi.evaluation.items import Item
from verl_vsi.evaluation.protocol import make_protocol


def test_official_is_the_benchmarks_own_protocol(make_item: Callable[..., Item]) -> None:
    official = make_protocol("official")
    assert (official.max_tokens, official.extraction, official.frames.sampler, official.frames.nframes) == (
        16,
        "official",
        "linspace",
        32,
    )
    assert official.text(make_item(1, "object_counting")) == (
        "These are frames of a video.\nquestion 1?\nPlease answer the question using a single word or phrase."
    )
    assert official.text(make_item(2, "route_planning")) == (
        "These are frames of a video.\nquestion 2?\nOptions:\nA. chair\nB. sofa\nC. table\nD. lamp\n"
        "Answer with the option's letter from the given choices directly."
    )


@pytest.mark.parametrize(
    ("mode", "prompt"),  # 2504.00883, Table 1
    [
        ("think", "Let's think step by step and then answer the question using a single word or phrase."),
        ("observe", "Please observe the video first and then answer the question using a single word or phrase."),
        ("vanilla", "Please answer the question using a single word or phrase."),
    ],
)
def test_paper_asks_with_the_papers_evaluation_prompts(make_item: Callable[..., Item], mode: str, prompt: str) -> None:
    assert make_protocol("paper", mode).text(make_item(3, "object_counting")) == f"question 3?\n{prompt}"


def test_the_training_prompt_is_one_option_away(make_item: Callable[..., Item]) -> None:
    text = make_protocol("paper", prompts="train").text(make_item(4, "object_counting"))
    assert text.endswith("Please provide the short answer with one or two words or a number.")


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("paper", {"mode": "think", "max_tokens": 16}, "cut off a think answer"),  # lmms-eval#1100
        ("paper", {"mode": "observe", "max_tokens": 100}, "cut off an? observe answer"),
        ("official", {"mode": "vanilla", "max_tokens": 4}, "cut off"),
        ("official", {"mode": "think"}, "take --preset paper"),  # the benchmark has no such prompt
        ("oficial", {}, "choose one of official, harness, revsi, paper"),
        ("paper", {"mode": "dream"}, "mode"),
        ("paper", {"extraction": "magic"}, "official, lmms_eval, robust"),
        ("paper", {"prompts": "mine"}, "prompt set 'mine'"),
        ("paper", {"frames": {"sampler": "random"}}, "sampler 'random'"),
    ],
)
def test_settings_that_would_spoil_a_score_are_refused_with_the_way_out(
    preset: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_protocol(preset, **settings)


def test_a_changed_preset_says_so_in_its_labels() -> None:
    assert make_protocol("official").labels()["preset"] == "official"
    changed = make_protocol("official", frames={"nframes": 16}).labels()
    assert (changed["preset"], changed["nframes"]) == ("official, changed", 16)
    assert make_protocol("official", extraction="robust").labels()["preset"] == "official, changed"


def test_the_former_name_of_an_extraction_means_the_same() -> None:
    assert make_protocol("paper", extraction="harness") == make_protocol("paper", extraction="lmms_eval")
