"""verl's trainer on a machine without an accelerator: a platform, an engine and the shims they need.

Nothing here acts where an accelerator is present, nor where a Ray cluster may have one (`choice`).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from verl_vsi.cpu.choice import PLATFORM_VARIABLE, Choice, Surroundings, choose

IN_ANY_PROCESS = (
    "verl_vsi.cpu.environment",
    "verl_vsi.cpu.torchvision_ops",
    "verl_vsi.cpu.cuda_builds",
    "verl_vsi.cpu.vllm_metadata",
)
"""Shims for torch, torchvision and vLLM, needed whether or not verl is there."""

IN_VERL = (
    "verl_vsi.cpu.platform",
    "verl_vsi.cpu.engine",
    "verl_vsi.cpu.polling",
    "verl_vsi.cpu.leftovers",
    "verl_vsi.compat.cpu_process_group",
)
"""What verl asks of a platform."""

CHOSEN: list[Choice] = []
"""What `register` chose in this process; the start-up checks hold it against the composed config."""


def register() -> Choice:
    """Choose; if it is the CPU, register all of it, and let child processes (Ray, vLLM) choose the same."""
    choice = choose(Surroundings.here())
    CHOSEN.append(choice)
    if choice.cpu:
        os.environ[PLATFORM_VARIABLE] = "cpu"
        _register(IN_ANY_PROCESS + IN_VERL)
    elif choice.unsure:
        _say_once(choice)
    return choice


def prepare() -> Choice:
    """The shims alone, for a process that uses torchvision, transformers or vLLM without verl."""
    choice = choose(Surroundings.here())
    if choice.cpu:
        _register(IN_ANY_PROCESS)
    return choice


def _register(modules: tuple[str, ...]) -> None:
    for name in modules:
        import_module(name).register()


def _say_once(choice: Choice) -> None:
    """Only the driver is told, and only where a recipe was asked for: workers and scripts stay quiet."""
    if any(argument.lstrip("+").startswith("recipe=") for argument in sys.argv[1:]):
        print(
            f"verl-vsi: the CPU platform was not chosen, because {choice.why}. "
            f"If this run should train on this machine's CPU, set {PLATFORM_VARIABLE}=cpu (and `ray stop` first)",
            file=sys.stderr,
            flush=True,
        )
