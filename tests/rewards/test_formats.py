"""Literal responses of both modes, and R1-V's own pattern as the measure of `r1v`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.rewards.formats import r1v, strict

THINK = [
    # response, strict, r1v
    ("<think>a</think><answer>4</answer>", 1, 1),  # as asked
    ("<think>a\nb</think>\n\n<answer>4</answer>", 1, 1),  # lines
    ("\n<think>a</think><answer>4</answer>\n", 1, 0),  # white space around
    ("<think></think><answer>4</answer>", 0, 1),  # the paper's first hack: empty thinking
    ("<think> </think> <answer>xx</answer>", 0, 1),  # the same, as printed there
    ("<think>...</think><answer>4</answer>", 0, 1),  # marks say nothing
    ("<think>\u200b</think><answer>4</answer>", 0, 1),  # nor does what can't be seen
    ("<think>a</think><answer></answer>", 0, 1),  # no answer
    ("<think>a</think><answer>4</answer>" * 2, 0, 1),  # the second hack: repeated tags
    ("<think>a</think><think>b</think><answer>4</answer>", 0, 1),
    ("<think>a</think><answer>4</answer><answer>5</answer>", 0, 1),
    ("<think><think>a</think><answer>4</answer>", 0, 1),  # opened twice
    ("<think>a <observe>b</observe></think><answer>4</answer>", 0, 1),  # another mode's tags
    ("Well: <think>a</think><answer>4</answer>", 0, 0),  # something before
    ("<think>a</think> so <answer>4</answer>", 0, 0),  # something between
    ("<think>a</think><answer>4</answer>!", 0, 0),  # something after
    ("<answer>4</answer><think>a</think>", 0, 0),  # the wrong way round
    ("</think>a<think><answer>4</answer>", 0, 0),
    ("<think>a</think></answer>4<answer>", 0, 0),
    ("<think>a<answer>4</answer></think>", 0, 0),  # nested
    ("<think>a</think><answer>4", 0, 0),  # cut off
    ("<think>a", 0, 0),
    ("<Think>a</Think><answer>4</answer>", 0, 0),  # tags are lower case
    ("<observe>a</observe><answer>4</answer>", 0, 0),  # the other mode
    ("4", 0, 0),
    ("", 0, 0),
]

tokens = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<observe>", " ", "\n", "a", "4", "<", ">"])
tagged = st.lists(tokens, max_size=14).map("".join)


@pytest.mark.parametrize(("response", "clean", "loose"), THINK)
def test_a_think_response_is_judged(response: str, clean: int, loose: int) -> None:
    assert (strict(response, "think"), r1v(response, "think")) == (clean, loose)


@pytest.mark.parametrize(("response", "clean", "loose"), THINK)
def test_an_observe_response_is_judged_the_same(response: str, clean: int, loose: int) -> None:
    swap = {"think": "observe", "observe": "think"}
    swapped = re.sub(r"(?<=[</])(think|observe)(?=>)", lambda m: swap[m[1]], response)
    assert (strict(swapped, "observe"), r1v(swapped, "observe")) == (clean, loose)


@given(tagged)
def test_r1v_is_what_its_pattern_matches(response: str) -> None:
    pattern = r"<think>.*?</think>\s*<answer>.*?</answer>"
    assert r1v(response, "think") == float(re.fullmatch(pattern, response, re.DOTALL) is not None)


@given(tagged)
def test_a_strict_response_is_a_loose_one(response: str) -> None:
    assert strict(response, "think") <= r1v(response.strip(), "think")


@given(tagged)
def test_repeating_a_response_never_passes(response: str) -> None:
    assert strict(response * 2, "think") == 0.0
