"""What a run's responses look like, step by step, whatever it was rewarded for: read from verl's own dumps of them.

verl writes ``<trainer.rollout_data_dir>/<step>.jsonl``, a line a response with ``input``, ``output``, ``gts`` and
``score``. Two hacks that the paper tells of (arXiv 2504.00883, section 4) are counted beside both formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from verl_vsi.rewards.formats import r1v, strict

Dump = list[dict[str, Any]]
"""The responses of one step."""


def read_dumps(folder: Path) -> dict[int, Dump]:
    """Responses by step, in order."""
    files = sorted(folder.glob("*.jsonl"), key=lambda file: int(file.stem))
    return {int(file.stem): [json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files}


def empty_thought(text: str, tag: str) -> float:
    """1 if the first thought holds neither letter nor digit (a response without a thought has none to be empty).

    Args:
        text: a response.
        tag: of the mode, ``think`` or ``observe``.
    """
    _, start, rest = text.partition(f"<{tag}>")
    thought, end, _ = rest.partition(f"</{tag}>")
    return float(bool(start and end) and not any(c.isalnum() for c in thought))


def repeated_tag(text: str, tag: str) -> float:
    """1 if a tag of the mode, or the answer's, occurs more than once.

    Args:
        text: a response.
        tag: of the mode, ``think`` or ``observe``.
    """
    marks = [f"<{slash}{name}>" for name in (tag, "answer") for slash in ("", "/")]
    return float(any(text.count(mark) > 1 for mark in marks))


CHECKS: dict[str, Callable[[str, str], float]] = {
    "strict": strict,
    "loose": r1v,
    "repeated": repeated_tag,
    "empty": empty_thought,
}
"""(response, tag) -> 1 or 0: both formats, and the two hacks."""


def shares(dump: Dump, tag: str) -> dict[str, float]:
    """The share of a step's responses that pass each of `CHECKS`, from 0 to 1.

    Args:
        dump: the responses of one step.
        tag: of the mode, ``think`` or ``observe``.
    """
    return {
        name: round(sum(check(str(row["output"]), tag) for row in dump) / len(dump), 4)
        for name, check in CHECKS.items()
    }


def share_curves(dumps: Mapping[int, Dump], tag: str) -> dict[str, list[list[float]]]:
    """Name of a check -> [step, share] pairs.

    Args:
        dumps: responses by step.
        tag: of the mode, ``think`` or ``observe``.
    """
    by_step = {step: shares(dump, tag) for step, dump in dumps.items()}
    return {name: [[step, share[name]] for step, share in by_step.items()] for name in CHECKS}


def samples(dump: Dump, tag: str, count: int = 3) -> list[dict[str, Any]]:
    """The best rewarded responses of a step that differ from each other, best first, with what each format gives.

    Args:
        dump: the responses of one step.
        tag: of the mode, ``think`` or ``observe``.
        count: at most so many.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(dump, key=lambda row: -float(row["score"])):
        best.setdefault(str(row["output"]), row)
    return [_sample(row, tag) for row in list(best.values())[:count]]


def _sample(row: dict[str, Any], tag: str) -> dict[str, Any]:
    text = str(row["output"])
    return {
        "response": text,
        "truth": row["gts"],
        "reward": round(float(row["score"]), 3),
        "strict": strict(text, tag),
        "loose": r1v(text, tag),
    }
