"""Compose a recipe over its trainer's own config, as `python -m <trainer> +recipe=<name>` would."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_vsi.checks.schema import engine_choices
from verl_vsi.checks.trainer import DPO, PPO, SFT
from verl_vsi.recipe_tools.catalogue import Recipe, find_recipe, folders

CONFIGS = {PPO: "ppo_trainer", SFT: "sft_trainer_engine", DPO: "sft_trainer_engine"}
"""verl's primary config of each trainer; DPO runs over SFT's."""


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
    import verl  # noqa: F401  (loads the plug-in, which registers the search path and the resolvers)
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_module("verl.trainer.config", version_base=None):
        yield Composer(tuple(folders(config_dir)))


def without_hydra(config: DictConfig) -> DictConfig:
    """What the trainer is handed."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
