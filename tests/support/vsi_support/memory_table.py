"""Recipes, GPUs, memory and hours as a table for the docs, from what `verl-vsi recipes estimate` computes.

VSI_RUN=tests python -m vsi_support.memory_table     # writes the table into docs/training.md
"""

from __future__ import annotations

from vsi_support.page_tables import PageTable

from verl_vsi.config.estimate import busiest, hours_of, recipe_of
from verl_vsi.config.recipes import Composer, composer

TABLE = PageTable("training.md", "memory table")
ROWS = 100_000
"""Questions of a run; VSI-100k has about so many."""
CARDS = (80, 48, 24)
"""GB of a GPU."""

COMMANDS = (
    "vsgrpo_2b",
    "vsgrpo_2b mode=think",
    "vsgrpo_2b mode=observe",
    "vsgrpo_2b mode=think passes=stock",
    "vsgrpo_2b hardware=one_gpu",
    "vsgrpo_2b hardware=one_gpu mode=think",
    "vsgrpo_2b ablation=[full_tuning]",
    "vsgrpo_2b model=qwen3_vl_4b",
    "vsgrpo_7b",
    "vsgrpo_7b backend=fsdp2",
    "vsgrpo_7b backend=fsdp2 hardware=one_gpu",
    "vsgrpo_7b backend=fsdp2 ablation=[full_tuning]",
    "vsgrpo_7b hardware=2x8 backend=fsdp2",
    "sft_2b",
    "sft_2b hardware=one_gpu",
    "sft_7b",
    "dpo_2b",
    "dpo_7b",
)


def markdown(compose: Composer) -> str:
    """The table: GPUs, memory of the update, whether it fits cards of three sizes, hours.

    Args:
        compose: recipes.
    """
    lines = [
        "| `+recipe=` | GPUs | busiest moment, 80 GB cards | fits 80 / 48 / 24 GB | hours |",
        "|---|---:|---:|---|---:|",
    ]
    return "\n".join([*lines, *(_line(compose, command) for command in COMMANDS)])


def _line(compose: Composer, command: str) -> str:
    recipe = recipe_of(compose.recipe(command))
    needed = {card: busiest(recipe, card * 1e9)[0] / 1e9 for card in CARDS}
    fits = " / ".join("yes" if needed[card] <= card else "no" for card in CARDS)
    hours = hours_of(recipe, ROWS)
    cells = (
        f"`{command}`",
        str(recipe.load.gpus),
        f"{needed[80]:.0f} GB",
        fits,
        "" if hours is None else f"{hours:.1f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    with composer() as recipes:
        TABLE.write(markdown(recipes))
