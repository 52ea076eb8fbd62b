"""What each recipe changes in verl's own config, key by key, against a stored copy: an unused slot changes nothing.

After a change that is meant, store it anew and read the difference: python tests/recipes/test_composed.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from verl_vsi.config import recipes
from verl_vsi.config.access import flatten
from verl_vsi.config.recipes import Composer, composer

STORED = Path(__file__).with_name("composed.json")
WHERE = recipes.folders()
NAMES = [recipe.name for recipe in recipes.recipes(WHERE)]


def composed(compose: Composer, name: str) -> dict[str, Any]:
    """Keys that differ from verl's own config in the recipe's own mode; then, of each other mode, from that one.

    Interpolations stay as they are written, so that this is the same on every machine.
    """
    config = compose.recipe(name)
    first = written(config)
    modes = {mode: written(compose.recipe(f"{name} mode={mode}")) for mode in recipes.options("mode", WHERE)}
    return {
        "recipe": changes(written(compose.bare(config)), first),
        "modes": {mode: changes(first, settings) for mode, settings in modes.items()},
    }


def written(config: DictConfig) -> dict[str, Any]:
    """Dotted key -> value as written, without Hydra's own node."""
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return flatten(OmegaConf.to_container(plain, resolve=False))  # pyright: ignore[reportArgumentType]


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Key -> value of what is new or other."""
    return {key: value for key, value in sorted(after.items()) if key not in before or before[key] != value}


@pytest.mark.parametrize("name", NAMES)
def test_without_a_model_a_recipe_composes_as_stored(compose: Composer, name: str) -> None:
    stored = json.loads(STORED.read_text())
    assert composed(compose, name) == stored[name]


def test_nothing_else_is_stored() -> None:
    assert sorted(json.loads(STORED.read_text())) == sorted(NAMES)


if __name__ == "__main__":
    with composer() as ready:
        STORED.write_text(json.dumps({name: composed(ready, name) for name in NAMES}, indent=1) + "\n")
