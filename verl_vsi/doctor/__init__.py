"""What is installed, what is registered, and what to do where something is not.

Each check is a small function that gives one or more `Check`; one that raises becomes a failing line itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from verl_vsi.doctor import entry_points, installed, machine
from verl_vsi.doctor.check import Check, Status

Examination = Callable[[], Iterable[Check]]

__all__ = ["Check", "Examination", "Status", "examinations", "examine"]


def examinations(decoder: str = "pyav") -> list[Examination]:
    """All of them, in the order in which problems are best solved."""
    return [
        installed.python,
        installed.checkout,
        machine.platform,  # before verl is imported: it answers from the machine alone
        installed.packages,
        machine.driver,
        installed.flash_attention,
        entry_points.entry_points,
        entry_points.policy,
        entry_points.registrations,
        entry_points.engine,
        machine.compositions,
        partial(machine.clip, decoder),
        machine.shared_memory,
    ]


def examine(checks: Sequence[Examination]) -> Iterator[Check]:
    """Results as they come."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            name = getattr(check, "func", check).__name__
            yield Check(
                name,
                "fail",
                f"{type(error).__name__}: {error}",
                "this check itself failed: the lines above may say why",
            )
