"""A recipe of one's own as a file to edit: it builds on another, and shows what that one sets, as comments."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import reduce
from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.provenance import repeat
from verl_vsi.config.recipes import Composer, find_recipe
from verl_vsi.config.schema import meanings
from verl_vsi.config.trainers import USER_VARIABLE
from verl_vsi.data_adapters.files import write_text

SLOTS = ("trainer", "mode", "hardware", "backend", "passes")
"""Keys under `vsi` that belong to the trainer or to a slot."""

VERL_KEYS: Mapping[str, str] = {
    "data.train_batch_size": "Questions a step.",
    "data.max_prompt_length": "Tokens of a prompt, the video's included.",
    "data.max_response_length": "Most tokens of a response.",
    "data.max_length": "Tokens of prompt and answer.",
    "actor_rollout_ref.actor.optim.lr": "Learning rate.",
    "actor_rollout_ref.actor.use_kl_loss": "Whether the reference holds the model back.",
    "actor_rollout_ref.actor.kl_loss_coef": "Weight of KL in the loss, the paper's beta.",
    "actor_rollout_ref.actor.entropy_coeff": "Weight of the entropy in the loss.",
    "actor_rollout_ref.rollout.n": "Responses a question.",
    "actor_rollout_ref.rollout.temperature": "Of sampling.",
    "optim.lr": "Learning rate.",
}
"""verl's keys that a recipe most often changes; a trainer has those that it has."""

TRAINER_KEYS: Mapping[str, str] = {
    "trainer.total_epochs": "How often the rows are gone through.",
    "trainer.save_freq": "Steps from checkpoint to checkpoint.",
    "trainer.test_freq": "Steps from validation to validation.",
}

_HEAD = """\
# @package _global_
# {name}: say here, in a line, what it tries.
#
# Run        {command}
# Compare    verl-vsi recipes diff {base} {name}
#
# It is {base} until you change something below: each line there has a key, its value in {base} and what it means.
# Take the "#" away from a key, and from the groups above it, to set another value. mode, model, backend, passes,
# hardware and ablation are slots: give them on the command line, or put "override /mode: think" into the defaults.
defaults:
  - {base}
  - _self_
"""


def write_recipe(name: str, base: str, folder: Path, compose: Composer) -> Path:
    """Write `folder`/recipe/`name`.yaml.

    Args:
        name: of the new recipe.
        base: of the one that it builds on.
        folder: of one's own recipes; is made.
        compose: over the recipes that there are.

    Returns:
        The file.

    Raises:
        ValueError: a name that can't be one, or that a recipe has already.
        FileExistsError: the file is there.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"'{name}' can't be a recipe's name: letters, digits, _, - and .")
    where = [*compose.where, folder]
    taken = next((path for place in where if (path := place / "recipe" / f"{name}.yaml").exists()), None)
    if taken:
        raise FileExistsError(f"there is a recipe '{name}' already: {taken}")
    find_recipe(base, compose.where)
    path = folder / "recipe" / f"{name}.yaml"
    write_text(path, recipe_text(name, base, folder, compose.recipe([base])))
    return path


def recipe_text(name: str, base: str, folder: Path, config: DictConfig) -> str:
    """The file's content.

    Args:
        name: of the new recipe.
        base: of the one that it builds on.
        folder: of one's own recipes.
        config: the base, composed.
    """
    run = repeat(config.vsi.trainer, [f"+recipe={name}"])
    command = f"{USER_VARIABLE}={shlex.quote(str(folder.resolve()))} VSI_ROOT=/data/vsi {run}"
    ours = {key: meaning for key, meaning in meanings().items() if key.split(".")[1] not in SLOTS}
    lines = [f"#{line}" for line in _lines(config, ours)]
    lines += [f"#{line}" for line in _lines(config, VERL_KEYS)]
    own = ["trainer:", f"  experiment_name: {name}"]
    own += [f"#{line}" for line in _lines(config, TRAINER_KEYS)[1:]]  # under the group that is open
    return "\n".join([_HEAD.format(name=name, base=base, command=command), *lines, *own, ""])


def _lines(config: DictConfig, keys: Mapping[str, str]) -> list[str]:
    """YAML of these keys, a group's own under it, with what each means behind it; without those that the base lacks."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    lines, groups = [], []
    for key, meaning in keys.items():
        *above, last = key.split(".")
        node = reduce(lambda node, part: (node or {}).get(part), above, plain)
        if not node or last not in node:
            continue
        opened = [*takewhile(lambda pair: pair[0] == pair[1], zip(groups, above, strict=False))]
        lines += [f"{'  ' * depth}{group}:" for depth, group in enumerate(above) if depth >= len(opened)]
        lines.append(f"{'  ' * len(above)}{last}: {json.dumps(node[last])}  # {meaning}")
        groups = above
    return lines
