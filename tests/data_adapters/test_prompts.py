"""The one rule by which questions become prompts."""

from __future__ import annotations

import pytest

from verl_vsi.data_adapters.prompts import check_mode, sft_answer, user_text


@pytest.mark.parametrize(
    ("question", "options", "mode_prompt", "text"),
    [
        ("<video>How big?", [], "Briefly.", "<video>How big?\nBriefly."),  # a number or a word
        ("Which?", ["A. bed", "B. sink"], "Briefly.", "Which?\nOptions:\nA. bed\nB. sink\nBriefly."),  # letters
        ("How big?", [], "", "How big?"),  # no mode prompt: no empty line
    ],
)
def test_the_order_is_question_options_mode_prompt(
    question: str, options: list[str], mode_prompt: str, text: str
) -> None:
    assert user_text(question, options, mode_prompt) == text


@pytest.mark.parametrize(
    ("mode", "text"),
    [("vanilla", "left"), ("think", "<answer>left</answer>"), ("observe", "<answer>left</answer>")],
)
def test_sft_teaches_the_answer_in_the_modes_form(mode: str, text: str) -> None:
    assert sft_answer("left", mode) == text


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"vanilla\|think\|observe"):
        check_mode("ponder")
