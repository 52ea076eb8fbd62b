"""Recipes as things to list, compose, compare and estimate, without starting anything."""

from verl_vsi.recipe_tools.catalogue import Recipe, find_recipe, options, recipes
from verl_vsi.recipe_tools.compose import Composer, composer
from verl_vsi.recipe_tools.diff import Difference, differences, settings

__all__ = [
    "Composer",
    "Difference",
    "Recipe",
    "composer",
    "differences",
    "find_recipe",
    "options",
    "recipes",
    "settings",
]
