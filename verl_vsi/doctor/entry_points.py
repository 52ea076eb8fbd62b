"""Whether verl and vLLM load this plug-in, and whether what it brings works there: registrations, engine, recipes."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from verl_vsi.cpu.platform_choice import Surroundings, choose
from verl_vsi.doctor.check import Check
from verl_vsi.doctor.installed import INSTALL_VERL

NAME = "verl_vsi"
AGAIN = "pip install --no-deps --force-reinstall, with its clone, its git address or its wheel (docs, 'On one GPU')"
ENTRY_POINTS = {
    "verl.plugins": "verl_vsi.plugin",
    "vllm.platform_plugins": "verl_vsi.vllm_plugin:platform",
    "vllm.general_plugins": "verl_vsi.vllm_plugin:general",
}
"""Groups, and what our entry point in each must lead to."""


def entry_points() -> Iterator[Check]:
    """What Python's metadata says of our entry points."""
    for group, value in ENTRY_POINTS.items():
        values = [point.value for point in importlib.metadata.entry_points(group=group) if point.name == NAME]
        if value in values:
            yield Check(group, "ok", value)
        else:
            detail = f"leads to {', '.join(values)}" if values else "verl-vsi is not among its entry points"
            yield Check(group, "fail", detail, "install verl-vsi again: " + AGAIN)


def plugin_variables(env: Mapping[str, str] = os.environ) -> Iterator[Check]:
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
    """Let verl load the plug-in here, and see what it registers."""
    if find_spec("verl") is None:
        yield Check("registrations", "fail", "verl is not installed", INSTALL_VERL)
        return
    import verl  # loads the plug-in, as in a run

    from verl_vsi.plugin import ALWAYS, FAILURES, IN_OUR_RUNS

    failures = {failure.name: failure.cause for failure in FAILURES}
    for registration in ALWAYS + IN_OUR_RUNS:
        cause = failures.get(registration.name)
        if cause is None:
            yield Check("registered", "ok", registration.name)
        else:
            fix = f"solve what the lines above say; else report it with verl's version, {verl.__version__}"
            yield Check("registered", "fail", f"{registration.name}: {cause}", fix)


def engine() -> Iterator[Check]:
    """The engine that verl would train with here."""
    if find_spec("verl") is None:
        return
    from verl.workers.engine import EngineRegistry

    if not choose(Surroundings.here()).cpu:
        known = EngineRegistry._engines.get("language_model", {})
        yield Check("engines", "ok", ", ".join(sorted(known)))
        return
    engine_class = EngineRegistry.get_engine_cls("language_model", "fsdp2")
    yield Check("engine on the CPU", "ok", f"{engine_class.__module__}.{engine_class.__name__}")


def recipes() -> Iterator[Check]:
    """Compose each recipe as its trainer would; ours and those under VSI_RECIPES."""
    if find_spec("verl") is None:
        return
    from verl_vsi.config.trainers import recipe_folders

    composed = []
    for folder in recipe_folders(os.environ):
        for path in sorted((folder / "recipe").glob("[!_]*.yaml")):
            error = composition_error(path.stem, folder)
            if error is None:
                composed.append(path.stem)
            else:
                fix = f"correct {path}, or install the verl that it was written for"
                yield Check("recipe", "fail", f"{path.stem}: {error}", fix)
    if composed:
        yield Check("recipes", "ok", ", ".join(composed))
    else:
        yield Check("recipes", "warn", "none", "reinstall verl-vsi")


def composition_error(name: str, folder: Path) -> str | None:
    """Compose a recipe over the installed verl.

    Args:
        name: of the recipe.
        folder: that holds recipe/`name`.yaml.

    Returns:
        the error; None where it composes.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    from verl_vsi.config.recipes import CONFIGS
    from verl_vsi.config.trainers import recipe_folders, recipe_trainer

    trainer = recipe_trainer(name, [folder, *recipe_folders(os.environ)])
    if trainer not in CONFIGS:
        return f"vsi.trainer is {trainer}, choose one of {', '.join(CONFIGS)}"
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            compose(CONFIGS[trainer], overrides=[f"+recipe={name}", f"hydra.searchpath=[file://{folder}]"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
