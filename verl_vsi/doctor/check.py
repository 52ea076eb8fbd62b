"""One line of the doctor's table, and how its checks are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """What was looked at, and how it is.

    Args:
        name: what was looked at.
        status: `fail` where a run would fail.
        detail: how it is.
        fix: what the user can do; a failing check always has one.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""

    def __post_init__(self) -> None:
        """A failure without a fix is of no use to its reader."""
        if self.status == "fail" and not self.fix:
            raise ValueError(f"check '{self.name}' fails without a fix")


CheckFunction = Callable[[], Iterable[Check]]
"""Looks at one thing; gives a line or several, or none where there is nothing to look at."""


def run_checks(functions: Sequence[CheckFunction]) -> Iterator[Check]:
    """Lines as they come; a function that raises becomes a failing line itself."""
    for function in functions:
        try:
            yield from function()
        except Exception as error:
            name = getattr(function, "func", function).__name__
            fix = "this check itself failed: the lines above may say why"
            yield Check(name, "fail", f"{type(error).__name__}: {error}", fix)
