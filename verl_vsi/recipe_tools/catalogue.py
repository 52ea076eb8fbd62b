"""Which recipes and options there are: the YAML files of the package and of the user's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.checks.trainer import recipe_trainer
from verl_vsi.search_path import recipe_folders

GROUPS = ("mode", "backend", "backend/sft", "passes", "hardware", "ablation")
"""The slots of a recipe."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's file, before it is composed."""

    name: str
    path: Path
    trainer: str
    """Module that runs it, such as ``verl.trainer.main_ppo``."""

    @property
    def header(self) -> str:
        """The comment that opens the file, without ``#`` and Hydra's package line."""
        lines = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                lines.append(line.removeprefix("#").removeprefix(" "))
        return "\n".join(lines)

    @property
    def title(self) -> str:
        """First line of the header: what is reproduced."""
        return self.header.partition("\n")[0]


def folders(config_dir: Path | None = None) -> list[Path]:
    """The package's folder, the one that VSI_RECIPES names, and one more.

    Raises:
        NotADirectoryError: `config_dir` is no folder.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise NotADirectoryError(f"--config-dir {config_dir} is not a folder; it should hold recipe/*.yaml")
    return [*recipe_folders(os.environ), *([config_dir.resolve()] if config_dir else [])]


def recipes(where: Sequence[Path]) -> Iterator[Recipe]:
    """Every recipe of these folders, by name; of two with one name the first counts, as in Hydra."""
    found: dict[str, Path] = {}
    for folder in where:
        for path in sorted((folder / "recipe").glob("*.yaml")):
            if not path.stem.startswith("_"):
                found.setdefault(path.stem, path)
    for name, path in sorted(found.items()):
        yield Recipe(name, path, recipe_trainer(name, where) or "verl.trainer.main_ppo")


def find_recipe(name: str, where: Sequence[Path]) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; names those that there are.
    """
    known = {recipe.name: recipe for recipe in recipes(where)}
    if name not in known:
        raise ValueError(f"there is no recipe '{name}'; there are {', '.join(known)}. Recipes of yours: VSI_RECIPES")
    return known[name]


def options(group: str, where: Sequence[Path]) -> list[str]:
    """Names of a group's options, such as the modes."""
    return sorted({path.stem for folder in where for path in (folder / group).glob("*.yaml")})
