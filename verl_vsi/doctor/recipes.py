"""Whether every recipe composes against the installed verl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from verl_vsi.doctor.check import Check


def compositions() -> Iterator[Check]:
    """Compose each recipe as its trainer would; ours and those under VSI_RECIPES."""
    if find_spec("verl") is None:
        return
    from verl_vsi.search_path import recipe_folders

    good = []
    for folder in recipe_folders(os.environ):
        for path in sorted((folder / "recipe").glob("[!_]*.yaml")):
            error = composes(path.stem, folder)
            if error is None:
                good.append(path.stem)
            else:
                remedy = f"correct {path}, or install the verl that it was written for"
                yield Check("recipe", "fail", f"{path.stem}: {error}", remedy)
    yield Check("recipes", "ok" if good else "warn", ", ".join(good) or "none", "" if good else "reinstall verl-vsi")


def composes(name: str, folder: Path) -> str | None:
    """The error that composing `name` gives; None where it composes."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    from verl_vsi.checks.trainer import recipe_trainer
    from verl_vsi.recipe_tools.compose import CONFIGS
    from verl_vsi.search_path import recipe_folders

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
