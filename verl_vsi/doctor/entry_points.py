"""Whether verl and vLLM load this plug-in, and what it registered."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from verl_vsi.cpu.platform_choice import Surroundings, choose
from verl_vsi.doctor.check import Check
from verl_vsi.doctor.installed import INSTALL_VERL

NAME = "verl_vsi"
AGAIN = "pip install --no-deps --force-reinstall, with its clone, its git address or its wheel (README, 'Installing')"
DOORS = {
    "verl.plugins": "verl_vsi.plugin",
    "vllm.platform_plugins": "verl_vsi.vllm_plugin:platform",
    "vllm.general_plugins": "verl_vsi.vllm_plugin:general",
}
"""Entry point groups, and what each must lead to."""


def entry_points() -> Iterator[Check]:
    """What Python's metadata says of our entry points."""
    for group, value in DOORS.items():
        found = [point.value for point in importlib.metadata.entry_points(group=group) if point.name == NAME]
        if value in found:
            yield Check(group, "ok", value)
        else:
            detail = f"leads to {', '.join(found)}" if found else "verl-vsi is not among its entry points"
            yield Check(group, "fail", detail, "install verl-vsi again: " + AGAIN)


def policy(env: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """The variables by which a user can keep plug-ins out."""
    verl = env.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip()
    names = [name.strip() for name in verl.lower().split(",")]
    if verl.lower() == "auto" or (verl.lower() != "none" and NAME in names):
        yield Check("plug-ins of verl", "ok", f"VERL_USE_EXTERNAL_PLUGINS={verl}")
    else:
        yield Check(
            "plug-ins of verl",
            "fail",
            f"VERL_USE_EXTERNAL_PLUGINS={verl} keeps verl-vsi out: verl would not know any recipe",
            f"unset VERL_USE_EXTERNAL_PLUGINS, or add {NAME} to it",
        )
    vllm = env.get("VLLM_PLUGINS")
    if vllm is not None and NAME not in [name.strip() for name in vllm.split(",")]:
        detail = f"VLLM_PLUGINS={vllm} keeps verl-vsi out: vLLM on a CPU could not take new weights"
        yield Check("plug-ins of vLLM", "fail", detail, f"unset VLLM_PLUGINS, or add {NAME} to it")


def registrations() -> Iterator[Check]:
    """Open the door here, and see what it says."""
    if find_spec("verl") is None:
        yield Check("registrations", "fail", "verl is not installed", INSTALL_VERL)
        return
    import verl  # opens the door, as in a run

    from verl_vsi.plugin import ALWAYS, FAILURES, IN_OUR_RUNS

    failures = {failure.name: failure.cause for failure in FAILURES}
    for registration in ALWAYS + IN_OUR_RUNS:
        cause = failures.get(registration.name)
        if cause is None:
            yield Check("registered", "ok", registration.name)
        else:
            remedy = f"solve what the lines above say; else report it with verl's version, {verl.__version__}"
            yield Check("registered", "fail", f"{registration.name}: {cause}", remedy)


def engine() -> Iterator[Check]:
    """The engine that verl would train with here."""
    if find_spec("verl") is None:
        return
    from verl.workers.engine import EngineRegistry

    if not choose(Surroundings.here()).cpu:
        known = EngineRegistry._engines.get("language_model", {})
        yield Check("engines", "ok", ", ".join(sorted(known)))
        return
    found = EngineRegistry.get_engine_cls("language_model", "fsdp2")
    yield Check("engine on the CPU", "ok", f"{found.__module__}.{found.__name__}")
