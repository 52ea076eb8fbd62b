"""How far an answer is from the truth, as a number from 0 to 1.

Sources: VSI-Bench (arXiv 2412.14171, section 3.2 and its evaluation code) for `mra` and `exact_match`; vsGRPO (arXiv
2504.00883, section 4) for `min_relative`. A truth is a positive quantity (a count, metres, centimetres, square
metres); where answer or truth is not positive or not finite, no relative difference is defined and only equality
scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Metric = Callable[[float, float], float]
"""(answer, truth) -> score in [0, 1]."""

TOLERANCES: tuple[float, ...] = tuple((1 - np.linspace(0.5, 0.95, 10)).tolist())
"""VSI-Bench's ten tolerances, .50 down to .05, with numpy's own rounding: 120 against 100 meets six of them."""


def exact_match(answer: str, truth: str) -> float:
    """1 if both are the same but for case (letters and words).

    Args:
        answer: as read from the response.
        truth: the ground truth.
    """
    return float(answer.lower() == truth.lower())


def exact(answer: float, truth: float) -> float:
    """1 if both are the same number.

    Args:
        answer: as read from the response.
        truth: the ground truth.
    """
    return float(answer == truth)


def mean_relative_accuracy(answer: float, truth: float) -> float:
    """The share of VSI-Bench's ten tolerances that `|answer - truth| / truth` meets.

    As in the benchmark's code the comparison is `<=` (the paper prints `<`).

    Args:
        answer: as read from the response.
        truth: the ground truth.
    """
    if not _comparable(answer, truth):
        return exact(answer, truth)
    error = abs(answer - truth) / truth
    return sum(error <= tolerance for tolerance in TOLERANCES) / len(TOLERANCES)


def min_relative(answer: float, truth: float) -> float:
    """`max(0, 1 - d)` with vsGRPO's `d = |answer - truth| / min(answer, truth)`.

    The paper defines d and leaves open how it becomes a reward; this form fits its curves. Twice the truth and half
    of it both score 0.

    Args:
        answer: as read from the response.
        truth: the ground truth.
    """
    return max(0.0, 1.0 - relative_difference(answer, truth))


def inverse(answer: float, truth: float) -> float:
    """`1 / (1 + d)` with vsGRPO's d: a slope everywhere, so that a wild guess still learns which way to go.

    Args:
        answer: as read from the response.
        truth: the ground truth.
    """
    return 1.0 / (1.0 + relative_difference(answer, truth))


def relative_difference(answer: float, truth: float) -> float:
    """vsGRPO's `d = |answer - truth| / min(answer, truth)`; 0 or infinity where either is not a positive number.

    Args:
        answer: as read from the response.
        truth: the ground truth.
    """
    if not _comparable(answer, truth):
        return 0.0 if answer == truth else math.inf
    return abs(answer - truth) / min(answer, truth)


def is_finite(number: object) -> bool:
    """Is it a finite number, or a text that Python reads as one?"""
    try:
        return math.isfinite(float(str(number)))
    except ValueError:
        return False


def _comparable(answer: float, truth: float) -> bool:
    return 0 < answer < math.inf and 0 < truth < math.inf


NUMERIC: dict[str, Metric] = {
    "min_relative": min_relative,
    "inverse": inverse,
    "mra": mean_relative_accuracy,
    "exact": exact,
}
"""The numeric scores by the name that a recipe gives them."""
