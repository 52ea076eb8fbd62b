"""Does a response keep to its mode's format?

A response of the think mode is `<think>...</think><answer>...</answer>`; of the observe mode, the same with `observe`;
the vanilla mode has no format (arXiv 2504.00883, section 4). Both checks take time linear in the response, whatever
it holds: R1-V's regular expression as it stands takes quadratic time on repeated tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Format = Callable[[str, str], float]
"""(response, tag) -> 1 or 0."""

MODE_TAGS: dict[str, str | None] = {"vanilla": None, "think": "think", "observe": "observe"}
"""The paper's modes and the tag of their first block."""

TAGS = ("think", "observe", "answer")

_SOMETHING = re.compile(r"[^\W_]")


def strict(response: str, tag: str) -> float:
    """1 for exactly one pair of each tag, something inside, and nothing outside.

    "Something" is a letter or a digit; white space may stand between and around the pairs. This is what the paper's
    two hacks (empty thinking, repeated tags) call for.

    Args:
        response: what the model wrote.
        tag: of the mode's first block, `think` or `observe`.
    """
    required = {tag, "answer"}
    for name in required.union(TAGS):
        pairs = int(name in required)
        if response.count(f"<{name}>") != pairs or response.count(f"</{name}>") != pairs:
            return 0.0
    before, _, rest = response.partition(f"<{tag}>")
    thought, _, rest = rest.partition(f"</{tag}>")
    between, _, rest = rest.partition("<answer>")
    answer, closed, after = rest.partition("</answer>")
    clean = bool(closed) and not (before + between + after).strip()
    return float(clean and bool(_SOMETHING.search(thought)) and bool(_SOMETHING.search(answer)))


def r1v(response: str, tag: str) -> float:
    """1 where R1-V's pattern, `<tag>.*?</tag>\\s*<answer>.*?</answer>`, matches the whole response.

    Loose: empty thinking and repeated tags pass.

    Args:
        response: what the model wrote.
        tag: of the mode's first block, `think` or `observe`.
    """
    opening, closing = f"<{tag}>", "</answer>"
    if not (response.startswith(opening) and response.endswith(closing)):
        return 0.0
    joint = re.compile(rf"</{tag}>\s*<answer>")
    return float(joint.search(response, len(opening), max(0, len(response) - len(closing))) is not None)


FORMATS: dict[str, Format] = {"strict": strict, "r1v": r1v}
"""The format checks by the name that a recipe gives them."""
