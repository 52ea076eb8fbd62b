"""The one door that verl opens: entry point group `verl.plugins`, in every process that imports verl.

It must start in milliseconds, so it names what to register and imports little more. verl swallows a plug-in's errors;
then `+recipe=...` would mean nothing and verl would go on with its defaults. So failures are said on stderr, and a run
that asked for a recipe stops here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Registration:
    """One thing to register."""

    name: str
    """What it is, in a user's words."""
    module: str
    """Module that has `register()`."""


@dataclass(frozen=True)
class Failure:
    """A registration that did not work, and its cause."""

    name: str
    cause: str


REGISTRATIONS = (
    Registration("recipes on Hydra's search path", "verl_vsi.search_path"),
    Registration("resolvers of the recipes", "verl_vsi.resolvers"),
    Registration("the watch over training", "verl_vsi.checks.watch"),
    Registration("the CPU platform", "verl_vsi.cpu"),
    Registration("shared training passes", "verl_vsi.engine.register"),
    Registration("Qwen2-VL on Megatron", "verl_vsi.megatron.register"),
    Registration("work-around: sequences of one length", "verl_vsi.compat.uniform_position_ids"),
    Registration("work-around: pixels sent twice", "verl_vsi.compat.sglang_payload"),
    Registration("work-around: micro-batches without video", "verl_vsi.compat.text_only_batch"),
    Registration("work-around: checkpoints that are too many", "verl_vsi.compat.old_checkpoints"),
)

FAILURES: list[Failure] = []
"""What went wrong in this process; `verl-vsi doctor` shows it."""

_RECIPE = ("recipe=", "+recipe=", "++recipe=")


def register_all(registrations: Sequence[Registration] = REGISTRATIONS) -> list[Failure]:
    """Register each; a broken one does not keep the others out."""
    failures = []
    for registration in registrations:
        try:
            import_module(registration.module).register()
        except Exception as error:
            failures.append(Failure(registration.name, f"{type(error).__name__}: {error}"))
    return failures


def explain(failures: Sequence[Failure], argv: Sequence[str]) -> str:
    """What failed, why, what follows and the way out."""
    lines = ["verl-vsi: this plug-in of verl could not register:"]
    lines += [f"  {failure.name}: {failure.cause}" for failure in failures]
    if asks_for_recipe(argv):
        lines.append("A recipe was asked for, so the run stops here instead of going on with verl's defaults.")
    lines.append("Way out: `verl-vsi doctor` says what is installed and what does not fit.")
    return "\n".join(lines)


def asks_for_recipe(argv: Sequence[str]) -> bool:
    """Whether this process was started with a recipe."""
    return any(argument.startswith(_RECIPE) for argument in argv[1:])


def open_door(argv: Sequence[str]) -> None:
    """Register everything; report failures.

    Raises:
        SystemExit: something failed and a recipe was asked for (an Exception would be swallowed by verl).
    """
    FAILURES.extend(register_all())
    if not FAILURES:
        return
    print(explain(FAILURES, argv), file=sys.stderr, flush=True)
    if asks_for_recipe(argv):
        raise SystemExit(1)


open_door(sys.argv)
