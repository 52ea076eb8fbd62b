"""Eight known answers that must score as expected, before a day of training rests on them.

An extraction that can't read the mode's tags, a tag of the wrong mode or a broken term gives a constant reward, and
a constant reward trains nothing, silently; a negative weight trains the wrong answers. `check` finds it in
milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_vsi.rewards.formats import MODE_TAGS
from verl_vsi.rewards.terms import RewardSettings
from verl_vsi.rewards.vsgrpo import compute_score

NEAR = {"min_relative": 0.75, "inverse": 0.8, "mra": 0.6, "exact": 0.0}
"""What 5 scores against 4, by numeric score: d is 1/4 of the smaller and of the truth."""

FAR = {"min_relative": 0.0, "inverse": 1 / 100, "mra": 0.0, "exact": 0.0}
"""What 400 scores against 4: d is 99."""


@dataclass(frozen=True)
class KnownAnswer:
    """A response whose score is known.

    Args:
        task: VSI-Bench's task name.
        truth: the ground truth.
        answer: what the model answers, without the mode's tags.
        accuracy: its accuracy; a dictionary where that depends on the numeric score.
        well_formed: is the answer put into the mode's format?
    """

    task: str
    truth: str
    answer: str
    accuracy: float | Mapping[str, float]
    well_formed: bool = True

    def response(self, tag: str | None) -> str:
        """The whole response, in the mode's format or well outside it."""
        if tag is None:
            return self.answer
        inside = f"<{tag}>I look around.</{tag}>\n<answer>{self.answer}</answer>"
        return inside if self.well_formed else self.answer and f"{inside}<{tag}></{tag}>"


KNOWN_ANSWERS = (
    KnownAnswer("object_counting", "4", "4", 1.0),
    KnownAnswer("object_counting", "4", "5", NEAR),
    KnownAnswer("object_abs_distance", "4", "400", FAR),
    KnownAnswer("room_size_estimation", "47.9", "47.9", 1.0),
    KnownAnswer("object_rel_distance", "sink", "Sink", 1.0),
    KnownAnswer("object_rel_direction_easy", "left", "right", 0.0),
    KnownAnswer("object_size_estimation", "113", "113", 1.0, well_formed=False),
    KnownAnswer("object_counting", "4", "", 0.0, well_formed=False),
)
"""The right, the near and the far number, a decimal, the right and the wrong word, a repeated tag, and silence."""


RIGHT_AND_WRONG = (
    ("object_counting", "4", "400"),
    ("object_rel_direction_easy", "left", "right"),
)
"""Task, right answer, wrong answer as well put and of about the same length: the first must score more."""


def check(reward_kwargs: Mapping[str, Any], mode: str | None = None) -> list[str]:
    """Score the known answers under a run's own settings.

    Args:
        reward_kwargs: what verl will hand to `compute_score`.
        mode: the run's mode, where known: its tag must be the reward's.

    Returns:
        One line a failure; empty when all is well.
    """
    try:
        settings = RewardSettings(**reward_kwargs)
    except (ImportError, TypeError, ValueError) as error:
        return [f"the reward's settings: {error}"]
    failures = [failure for known in KNOWN_ANSWERS for failure in _failures(known, settings, reward_kwargs)]
    if mode in MODE_TAGS and MODE_TAGS[mode] != settings.tag:
        failures.insert(0, f"mode {mode} writes tag {MODE_TAGS[mode]}, but the reward looks for {settings.tag}")
    return failures or _misordered(settings, reward_kwargs)


def _misordered(settings: RewardSettings, reward_kwargs: Mapping[str, Any]) -> list[str]:
    """One line a task whose right answer does not score more than its wrong one."""
    failures: list[str] = []
    for task, right, wrong in RIGHT_AND_WRONG:
        high, low = (
            compute_score(f"selftest/{task}", known.response(settings.tag), right, {}, **reward_kwargs)["score"]
            for known in (KnownAnswer(task, right, right, 1.0), KnownAnswer(task, right, wrong, 0.0))
        )
        if not float(high) > float(low):
            failures.append(
                f"{task}, truth {right}: the right answer scores {high}, the wrong answer {wrong} scores {low}, with "
                f"the weights {dict(settings.terms)}; give accuracy a weight above 0 (vsi.reward.terms.accuracy=1)"
            )
    return failures


def _failures(known: KnownAnswer, settings: RewardSettings, reward_kwargs: Mapping[str, Any]) -> list[str]:
    response = known.response(settings.tag)
    where = f"{known.task}, truth {known.truth}, response {response!r}"
    try:
        parts = compute_score(f"selftest/{known.task}", response, known.truth, {}, **reward_kwargs)
    except Exception as error:  # a term of the user's own may raise anything
        return [f"{where}: {type(error).__name__}: {error}"]
    expected = _expected(known, settings)
    wrong = [
        f"{where}: {name} is {parts[name]}, expected {value}"
        for name, value in expected.items()
        if name in parts and not _close(parts[name], value)
    ]
    outside = [
        f"{where}: {name} is {value}, outside [0, 1]"
        for name, value in parts.items()
        if name.startswith("reward/") and not 0.0 <= float(value) <= 1.0
    ]
    return wrong + outside


def _expected(known: KnownAnswer, settings: RewardSettings) -> dict[str, float]:
    accuracy = known.accuracy
    return {
        "reward/accuracy": accuracy[settings.numeric] if isinstance(accuracy, Mapping) else accuracy,
        "reward/format": float(known.well_formed),
        "parse_failure": float(not known.answer),
    }


def _close(value: float | str, expected: float) -> bool:
    return math.isclose(float(value), expected, abs_tol=1e-9)
