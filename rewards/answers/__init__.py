"""Reading the answer out of a response, in three ways, by name.

`official`   VSI-Bench's own: the first word, nothing else. For numbers that compare with the paper's tables.
`lmms_eval`  lmms-eval's since July 2026: the first number or number word anywhere.
`robust`     ours, for training: knows the modes' tags, units, number words and the ways people write numbers.

The same weights can differ by five points between them, so every score that is printed names its extraction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from verl_vsi.rewards.answers import benchmark, robust

Kind = Literal["number", "word", "choice"]
"""How an answer is scored: by how far off it is, or by equality of words or of letters."""

Answer = float | str
Extraction = Callable[..., "Answer | None"]

EXTRACTIONS: dict[str, Extraction] = {
    "official": benchmark.official,
    "lmms_eval": benchmark.lmms_eval,
    "robust": robust.extract,
}
"""(text, kind, *, task, options) -> the answer: a float for numbers, else text; None where there is none."""

_FORMER_NAMES = {"harness": "lmms_eval"}


def extraction_name(name: str) -> str:
    """Today's name of an extraction; recipes and results of before still say `harness` for `lmms_eval`."""
    return _FORMER_NAMES.get(name, name)


def extract(name: str, text: str, kind: Kind, *, task: str = "", options: tuple[str, ...] = ()) -> Answer | None:
    """Read the answer out of a response.

    Args:
        name: `official`, `lmms_eval` or `robust`.
        text: the whole response.
        kind: `number`, `word` or `choice`.
        task: VSI-Bench's task name; tells `robust` which unit the truth is in.
        options: `A. chair`, ... of a lettered question; `robust` takes an option's words for its letter.

    Raises:
        KeyError: no extraction has that name.
    """
    return EXTRACTIONS[extraction_name(name)](text, kind, task=task, options=options)
