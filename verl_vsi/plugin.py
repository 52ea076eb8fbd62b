"""The one door that verl opens: entry point group `verl.plugins`, in every process that imports verl.

In a run that no recipe of ours has started, it registers the recipes' folder with Hydra and the CPU platform with verl,
and leaves everything else as it is. It must start in milliseconds there, so it imports little more than that.

verl swallows a plug-in's errors; then `+recipe=...` would mean nothing and verl would go on with its defaults. So
failures are said on stderr, and a run that asked for a recipe stops here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from verl_vsi import run_mark


class Registration(NamedTuple):
    """One thing to register."""

    name: str
    """What it is, in a user's words."""
    module: str
    function: str = "register"
    """Of the module, without arguments."""


class Failure(NamedTuple):
    """A registration that did not work, and its cause."""

    name: str
    cause: str


ALWAYS = (
    Registration("recipes on Hydra's search path", "verl_vsi.config.search_path"),
    Registration("the CPU platform", "verl_vsi.cpu"),
)
"""In every process that imports verl."""

IN_OUR_RUNS = (
    Registration("resolvers of the recipes", "verl_vsi.config.resolvers"),
    Registration("shared training passes", "verl_vsi.sharing"),
    Registration("vLLM servers that end with their engine", "verl_vsi.lifetime"),
    Registration("Qwen2-VL on Megatron", "verl_vsi.megatron"),
    Registration("curves for trackers", "verl_vsi.evaluation.report.trackers"),
    Registration("patches of a run", "verl_vsi.patches", "install_for_run"),
)
"""Where the mark of a run of ours is set."""

FAILURES: list[Failure] = []
"""What went wrong in this process; `verl-vsi doctor` shows it."""


def register_all(registrations: Sequence[Registration]) -> list[Failure]:
    """Register each; a broken one does not keep the others out."""
    failures = []
    for name, module, function in registrations:
        try:
            register: Callable[[], object] = getattr(import_module(module), function)
            register()
        except Exception as error:
            failures.append(Failure(name, f"{type(error).__name__}: {error}"))
    return failures


def explain(failures: Sequence[Failure], argv: Sequence[str]) -> str:
    """What failed, why, what follows and the way out.

    Args:
        failures: what could not register.
        argv: the process's words.
    """
    lines = ["verl-vsi: this plug-in of verl could not register:"]
    lines += [f"  {failure.name}: {failure.cause}" for failure in failures]
    if run_mark.named_recipes(argv):
        lines.append("A recipe was asked for, so the run stops here instead of going on with verl's defaults.")
    lines.append("Way out: `verl-vsi doctor` says what is installed and what does not fit.")
    return "\n".join(lines)


def open_door(argv: Sequence[str]) -> None:
    """Register what this process needs; report failures.

    Args:
        argv: of this process.

    Raises:
        SystemExit: something failed and a recipe was asked for (an Exception would be swallowed by verl).
    """
    try:
        ours = run_mark.mark_by_command(argv)
    except Exception as error:
        ours = False
        FAILURES.append(Failure("recipes", f"{type(error).__name__}: {error}"))
    FAILURES.extend(register_all(ALWAYS + IN_OUR_RUNS if ours else ALWAYS))
    if not FAILURES:
        return
    print(explain(FAILURES, argv), file=sys.stderr, flush=True)
    if run_mark.named_recipes(argv):
        raise SystemExit(1)


open_door(sys.argv)
