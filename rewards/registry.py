"""Reward terms by name: one dictionary, one decorator.

    @term("short")
    def short(response: Response) -> float:
        '''1 for an answer of at most three words.'''
        return float(len(response.text.split()) <= 3)

A recipe then weighs it (`vsi.reward.terms.short=0.2`) after naming the module that holds it (`vsi.reward.modules`).
A term is a function of a module, not a lambda or a closure: rewards are pickled on their way to Ray's workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from verl_vsi.rewards.answers import Answer, Kind, extract


@dataclass(frozen=True)
class Response:
    """One response and all that a term may look at.

    Args:
        text: what the model wrote, special tokens left out.
        truth: the ground truth as text, e.g. `6.1`, `left`, `A`.
        task: one of VSI-Bench's task names, e.g. `object_counting`.
        kind: how the answer is scored.
        options: `A. chair`, ... of a lettered question.
        tag: the tag of the mode's first block, `think` or `observe`; None where the mode has no format.
        extraction: which extraction reads the answer.
        numeric: which numeric score the accuracy is.
        format: which format check.
        length_cap: characters at which the length term is full.
    """

    text: str
    truth: str
    task: str
    kind: Kind
    options: tuple[str, ...] = ()
    tag: str | None = None
    extraction: str = "robust"
    numeric: str = "min_relative"
    format: str = "strict"
    length_cap: int = 1000

    @cached_property
    def answer(self) -> Answer | None:
        """What the extraction reads out of the text; None where it reads nothing."""
        answer = extract(self.extraction, self.text, self.kind, task=self.task, options=self.options)
        return None if answer == "" else answer


Term = Callable[[Response], float]
"""Response -> score in [0, 1]; never raises, whatever the text."""

TERMS: dict[str, Term] = {}
"""Every registered term by name."""


def term(name: str) -> Callable[[Term], Term]:
    """Register a reward term under a name of its own.

    Raises:
        ValueError: the name is taken by another function.
    """

    def register(function: Term) -> Term:
        taken = TERMS.setdefault(name, function)
        if (taken.__module__, taken.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(
                f"reward term '{name}' is already {taken.__module__}.{taken.__qualname__}: choose another name"
            )
        TERMS[name] = function
        return function

    return register
