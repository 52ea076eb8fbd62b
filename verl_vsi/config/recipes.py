"""Recipes as files to list, as configs to compose, and as settings to compare; nothing is started.

A recipe is composed over its trainer's own config, as `python -m <trainer> +recipe=<name>` would.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.access import engine_choices, flatten
from verl_vsi.config.trainers import DPO, PPO, SFT, RecipeFileError, recipe_folders, recipe_trainer
from verl_vsi.config.versions import require

GROUPS = ("mode", "model", "model/sft", "backend", "backend/sft", "passes", "hardware", "ablation")
"""The slots of a recipe."""

CONFIGS = {PPO: "ppo_trainer", SFT: "sft_trainer_engine", DPO: "sft_trainer_engine"}
"""verl's primary config of each trainer; DPO runs over SFT's."""

ABSENT = "(absent)"
"""What stands for the value of a key that a config does not have."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's file, before it is composed."""

    name: str
    path: Path
    trainer: str
    """Module that runs it, such as ``verl.trainer.main_ppo``; empty where the file can't be read."""
    fault: str = ""
    """Why it can't be read."""

    @property
    def header(self) -> str:
        """The comment that opens the file, without ``#`` and Hydra's package line."""
        lines = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                lines.append(line.removeprefix("#").removeprefix(" "))
        return "\n".join(lines)

    @property
    def title(self) -> str:
        """First line of the header: what is reproduced; or why the file can't be read."""
        return f"can't be read: {self.fault}" if self.fault else self.header.partition("\n")[0]


def folders(config_dir: Path | None = None) -> list[Path]:
    """The package's folder, the one that VSI_RECIPES names, and one more.

    Raises:
        NotADirectoryError: `config_dir` is no folder.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise NotADirectoryError(f"--config-dir {config_dir} is not a folder; it should hold recipe/*.yaml")
    return [*recipe_folders(os.environ), *([config_dir.resolve()] if config_dir else [])]


def recipes(where: Sequence[Path]) -> Iterator[Recipe]:
    """Every recipe of these folders, by name, broken ones too; of two with one name the first counts, as in Hydra."""
    found: dict[str, Path] = {}
    for folder in where:
        for path in sorted((folder / "recipe").glob("*.yaml")):
            if path.is_file() and not path.stem.startswith("_"):
                found.setdefault(path.stem, path)
    for name, path in sorted(found.items()):
        try:
            yield Recipe(name, path, recipe_trainer(name, where) or PPO)
        except RecipeFileError as error:
            yield Recipe(name, path, "", str(error))


def find_recipe(name: str, where: Sequence[Path]) -> Recipe:
    """The recipe of that name.

    Args:
        name: of its file, without ending.
        where: folders of recipes.

    Raises:
        ValueError: there is none, and it names those that there are; or its file can't be read.
    """
    known = {recipe.name: recipe for recipe in recipes(where)}
    if name not in known:
        raise ValueError(f"there is no recipe '{name}'; there are {', '.join(known)}. Recipes of yours: VSI_RECIPES")
    if known[name].fault:
        raise ValueError(known[name].fault)
    return known[name]


def options(group: str, where: Sequence[Path]) -> list[str]:
    """Names of a group's options, such as the modes; what options share has a name that begins with `_`.

    Args:
        group: a folder's name, e.g. mode.
        where: folders of recipes.
    """
    names = {path.stem for folder in where for path in (folder / group).glob("*.yaml")}
    return sorted(name for name in names if not name.startswith("_"))


@dataclass(frozen=True)
class Composer:
    """Composes while Hydra is initialised (see `composer`)."""

    where: tuple[Path, ...]

    def recipe(self, command: str | Sequence[str]) -> DictConfig:
        """A recipe with overrides, as on a command line.

        Args:
            command: ``"vsgrpo_2b mode=think"``, or its words.

        Returns:
            The config with Hydra's own node, interpolations as they are.

        Raises:
            ValueError: there is no such recipe.
        """
        name, *overrides = shlex.split(command) if isinstance(command, str) else command
        return self._compose(find_recipe(name, self.where), [f"+recipe={name}", *overrides])

    def bare(self, config: DictConfig) -> DictConfig:
        """verl's own config with the engine of a composed recipe, and nothing of the recipe."""
        from hydra import compose

        return compose(CONFIGS[config.vsi.trainer], overrides=engine_choices(config.hydra.runtime.choices))

    def _compose(self, recipe: Recipe, overrides: list[str]) -> DictConfig:
        from hydra import compose

        path = ",".join(f"file://{folder}" for folder in self.where[1:])
        overrides = [*overrides, f"hydra.searchpath=[{path}]"] if path else overrides
        return compose(CONFIGS.get(recipe.trainer, CONFIGS[PPO]), overrides=overrides, return_hydra_config=True)


@contextmanager
def composer(config_dir: Path | None = None) -> Iterator[Composer]:
    """Initialise Hydra over verl's configs, ours and the user's.

    Args:
        config_dir: a folder of recipes beside the package's and the one that VSI_RECIPES names.
    """
    require("verl")
    import verl  # noqa: F401  (loads the plug-in, which registers the search path and the resolvers)
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_module("verl.trainer.config", version_base=None):
        yield Composer(tuple(folders(config_dir)))


@dataclass(frozen=True)
class KeyDifference:
    """One key and its two values."""

    key: str
    first: Any
    second: Any


def settings(config: DictConfig) -> dict[str, Any]:
    """Dotted key -> value, resolved, without Hydra's node and without `data.vsi`, which repeats `vsi`."""
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    container: Mapping[str, Any] = OmegaConf.to_container(plain, resolve=True)  # pyright: ignore[reportAssignmentType]
    return {key: value for key, value in flatten(container).items() if not key.startswith("data.vsi.")}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[KeyDifference]:
    """Keys whose values differ, in order of name.

    Args:
        first: dotted key -> value.
        second: likewise.
    """
    return [
        KeyDifference(key, first.get(key, ABSENT), second.get(key, ABSENT))
        for key in sorted(first.keys() | second.keys())
        if first.get(key, ABSENT) != second.get(key, ABSENT)
    ]
