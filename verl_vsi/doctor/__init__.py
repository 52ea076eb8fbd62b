"""What is installed, what is registered, and what to do where something is not: `verl-vsi doctor`."""

from __future__ import annotations

from functools import partial

from verl_vsi.doctor import entry_points, installed, machine
from verl_vsi.doctor.check import Check, CheckFunction, Status, run_checks

__all__ = ["Check", "CheckFunction", "Status", "check_functions", "run_checks"]


def check_functions(decoder: str = "pyav") -> list[CheckFunction]:
    """All of them, in the order in which problems are best solved.

    Args:
        decoder: the ``vsi.frames.decoder`` to try.
    """
    return [
        installed.python,
        installed.checkout,
        machine.platform,  # before verl is imported: it answers from the machine alone
        installed.packages,
        machine.driver,
        installed.flash_attention,
        entry_points.entry_points,
        entry_points.plugin_variables,
        entry_points.registrations,
        entry_points.engine,
        entry_points.recipes,
        partial(machine.decoding, decoder),
        machine.shared_memory,
    ]
