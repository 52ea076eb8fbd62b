"""Reward terms by name: one dictionary, one decorator (see `term`), the paper's own terms, and what a recipe sets.

A recipe weighs a term (`+vsi.reward.terms.short=0.2`) after naming the module that holds it (`vsi.reward.modules`).
A term is a function of a module, not a lambda or a closure: rewards are pickled on their way to Ray's workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module

from verl_vsi.rewards.answers import EXTRACTIONS, Answer, Kind, extract, extraction_name
from verl_vsi.rewards.formats import FORMATS
from verl_vsi.rewards.metrics import NUMERIC, exact_match


@dataclass(frozen=True)
class Response:
    """One response and all that a term may look at.

    Args:
        text: what the model wrote, special tokens left out.
        truth: the ground truth as text, e.g. `6.1`, `left`, `A`.
        task: one of VSI-Bench's task names, e.g. `object_counting`.
        kind: how the answer is scored.
        settings: what the recipe says.
        options: `A. chair`, ... of a lettered question.
    """

    text: str
    truth: str
    task: str
    kind: Kind
    settings: RewardSettings
    options: tuple[str, ...] = ()

    @cached_property
    def answer(self) -> Answer | None:
        """What the extraction reads out of the text; None where it reads nothing."""
        answer = extract(self.settings.extraction, self.text, self.kind, task=self.task, options=self.options)
        return None if answer == "" else answer


Term = Callable[[Response], float]
"""Response -> score in [0, 1]; never raises, whatever the text."""

TERMS: dict[str, Term] = {}
"""Every registered term by name."""


def term(name: str) -> Callable[[Term], Term]:
    """Register a reward term under a name of its own.

    Raises:
        ValueError: the name is taken by another function.

    Example:
        >>> @term("short")
        ... def short(response: Response) -> float:
        ...     '''1 for an answer of at most three words.'''
        ...     return float(len(response.text.split()) <= 3)
        >>> from verl_vsi.rewards.vsgrpo import compute_score
        >>> parts = compute_score("vsi100k/object_counting", "4 chairs", "4", terms={"accuracy": 1.0, "short": 0.2})
        >>> parts["score"], parts["reward/short"]
        (1.2, 1.0)
    """

    def register(function: Term) -> Term:
        holder = TERMS.setdefault(name, function)
        if (holder.__module__, holder.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(f"reward term '{name}' is {holder.__module__}.{holder.__qualname__}: choose another name")
        TERMS[name] = function
        return function

    return register


@dataclass(frozen=True)
class RewardSettings:
    """What a recipe says about the reward (`vsi.reward`, and the tag of `vsi.mode`).

    Args:
        terms: weight of each term; the score is the weighted sum. The paper's: a plain sum (as in R1-V, on which it
            is built). `format` counts only where there is a tag.
        numeric: `min_relative`, `inverse`, `mra` or `exact`.
        extraction: `official`, `lmms_eval` or `robust`.
        format: `strict` or `r1v`.
        tag: `think`, `observe`, or None for the vanilla mode.
        length_cap: characters at which the length term is full.
        modules: Python modules to import first: those that hold terms of one's own.

    Raises:
        ImportError: a module can't be imported.
        ValueError: a name that nothing has, or a number that makes no sense.
    """

    terms: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 1.0, "format": 1.0})
    numeric: str = "min_relative"
    extraction: str = "robust"
    format: str = "strict"
    tag: str | None = None
    length_cap: int = 1000
    modules: Iterable[str] = ()

    def __post_init__(self) -> None:
        """Import the user's modules, then hold every name against what is registered."""
        for module in self.modules:
            import_module(module)
        object.__setattr__(self, "extraction", extraction_name(self.extraction))
        for name, choices in (("numeric", NUMERIC), ("extraction", EXTRACTIONS), ("format", FORMATS)):
            one_of(f"reward {name}", getattr(self, name), choices)
        for name, weight in self.terms.items():
            one_of("reward term", name, TERMS)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                raise ValueError(f"reward term {name}: its weight must be a finite number, got {weight!r}")
        if self.length_cap < 1:
            raise ValueError(f"reward length_cap must be at least 1 character, got {self.length_cap}")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term that counts."""
        return {name: float(weight) for name, weight in self.terms.items() if self.tag or name != "format"}


def one_of(what: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a value that is not among the choices.

    Args:
        what: the value's name in the message.
        value: what the user has set.
        choices: what may be set.

    Raises:
        ValueError: says what it is, the value, and what would do.
    """
    if value not in choices:
        raise ValueError(f"{what} '{value}' is unknown; one of {', '.join(sorted(map(str, choices)))}")


# The paper's terms (arXiv 2504.00883, section 4), and the length term of its failed experiment.


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
    """The answer's score with a numeric score of one's choice; 0 where no answer can be read.

    Args:
        response: with its truth.
        numeric: a name of `NUMERIC`, for answers that are numbers.
    """
    answer = response.answer
    if answer is None:
        return 0.0
    if isinstance(answer, str):
        return exact_match(answer, response.truth)
    return NUMERIC[numeric](answer, float(response.truth))
