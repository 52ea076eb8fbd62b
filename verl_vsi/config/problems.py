"""A thing that stops a run, and how all of them are shown at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what the user can do."""

    what: str
    fix: str


def explain(problems: Sequence[Problem]) -> str:
    """All problems as one text, numbered in the order in which they are best solved."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"verl-vsi: {count}; nothing was started (docs, 'Troubleshooting')."]
    for number, problem in enumerate(problems, 1):
        indent = " " * (len(str(number)) + 2)
        lines.append(f"{number}. {problem.what}".replace("\n", f"\n{indent}"))
        lines.append(f"{indent}-> {problem.fix}".replace("\n", f"\n{indent}   "))
    return "\n".join(lines)
