"""A wrong answer for every right one, as DPO wants: "the correct answer is modified to a wrong one" (section 4.1).

The paper does not say how; ours, drawn from the seed and the question:
- a number is multiplied or divided by a factor between 1.25 and 3, written with as many decimals, and is another number
  (a count moves by at least one and stays positive);
- a lettered choice becomes another letter of its options;
- ``left`` and ``right`` change places, and a word becomes another object that the question offers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

FACTORS = (1.25, 3.0)
"""How far a wrong number is off: wrong enough to score less, near enough to be plausible."""

_OPPOSITES = {"left": "right", "right": "left", "front": "back", "back": "front"}
_OFFERED = re.compile(r"\(([^()]*,[^()]*)\)")


def rejected_answer(row: Mapping[str, Any], seed: int = 0) -> str:
    """A wrong answer to the row's question; the same for the same row and seed.

    Args:
        row: as in the parquet: `reward_model.ground_truth` and `extra_info` (kind, question, options, index, scene_id).
        seed: another seed draws another wrong answer.

    Raises:
        ValueError: the question offers no other answer.
    """
    truth, about = row["reward_model"]["ground_truth"], row["extra_info"]
    draw = random.Random(f"{seed}/{about['scene_id']}/{about['index']}/{about['question']}")
    if about["kind"] == "number":
        return wrong_number(truth, draw)
    options = [option[0] for option in about["options"]] if about["kind"] == "choice" else offered(about["question"])
    if truth in _OPPOSITES and truth not in options:
        return _OPPOSITES[truth]
    return _other(options, truth, about["question"], draw)


def wrong_number(truth: str, draw: random.Random) -> str:
    """Another number with as many decimals.

    Raises:
        ValueError: `truth` is no number.
    """
    value, decimals = float(truth), len(truth.partition(".")[2])
    step = 10.0**-decimals
    factor = draw.uniform(*FACTORS)
    wrong = value * factor if draw.random() < 0.5 else value / factor
    text = f"{wrong:.{decimals}f}"
    if float(text) == value or float(text) <= 0:  # too small a number for its decimals
        text = f"{value + step:.{decimals}f}"
    return text


def offered(question: str) -> list[str]:
    """The objects that a question lists in brackets: ``(sink, pillow, bed, guitar)``."""
    listed = _OFFERED.findall(question)
    return [name.strip() for name in listed[-1].split(",")] if listed else []


def _other(options: Sequence[str], truth: str, question: str, draw: random.Random) -> str:
    others = sorted({option for option in options if option.lower() != truth.lower()})
    if not others:
        raise ValueError(f"no wrong answer can be made for '{truth}': the question offers no other: {question}")
    return draw.choice(others)
