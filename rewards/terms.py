"""The paper's reward terms (arXiv 2504.00883, section 4), and the length term of its failed experiment."""

from __future__ import annotations

from verl_vsi.rewards.formats import FORMATS
from verl_vsi.rewards.metrics import NUMERIC, exact_match
from verl_vsi.rewards.registry import Response, term


@term("accuracy")
def accuracy(response: Response) -> float:
    """Numbers by the numeric score, words and letters by equality; 0 where no answer can be read."""
    return score_answer(response, response.settings.numeric)


@term("format")
def format_(response: Response) -> float:
    """1 if the response keeps to its mode's format; a mode without format (vanilla) gives nothing."""
    return FORMATS[response.settings.format](response.text, response.settings.tag) if response.settings.tag else 0.0


@term("length")
def length(response: Response) -> float:
    """The longer the better, up to `length_cap` characters. Naive on purpose.

    The paper added a length reward against empty thinking, and "the model then repeated tags to collect it"; it
    doesn't print the formula. This one counts characters, tags included, so that the same can happen here.
    """
    return min(1.0, len(response.text) / response.settings.length_cap)


def score_answer(response: Response, numeric: str) -> float:
    """The answer's score with a numeric score of one's choice."""
    answer = response.answer
    if answer is None:
        return 0.0
    if isinstance(answer, str):
        return exact_match(answer, response.truth)
    return NUMERIC[numeric](answer, float(response.truth))
