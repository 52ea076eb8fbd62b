"""A recipe belongs to one trainer. Under another one, verl composes it without a word or fails far from the cause.

Some recipes do not even compose under the wrong trainer (they override a group that it lacks), so this looks at the
command and at the recipe's files, before Hydra composes.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from verl_vsi.config.problems import Problem, explain

PPO = "verl.trainer.main_ppo"
SFT = "verl.trainer.sft_trainer"
DPO = "verl_vsi.dpo"
_TORCHRUN = "torchrun --standalone --nproc_per_node=1 -m"
COMMANDS = {PPO: f"python -m {PPO}", SFT: f"{_TORCHRUN} {SFT}", DPO: f"{_TORCHRUN} {DPO}"}
"""How each trainer is started; under torchrun, a process for each GPU."""

_GROUP = "recipe"
_MODEL, _SFT_MODEL = "model=", "model/sft="
PACKAGE = Path(__file__).parents[1]
USER_VARIABLE = "VSI_RECIPES"
"""Environment variable: a folder of the user's with recipe/, mode/, ablation/ and the like."""


def recipe_folders(env: Mapping[str, str]) -> list[Path]:
    """The same places as folders: each may hold recipe/, mode/, ablation/ and the other groups."""
    folder = env.get(USER_VARIABLE, "").strip()
    return [PACKAGE / "recipes", *([Path(folder).expanduser().resolve()] if folder else [])]


def is_our_recipe(name: str, arguments: Sequence[str]) -> bool:
    """Whether a recipe is ours or builds on one of ours, so that it says which trainer it is for (`vsi.trainer`).

    Args:
        name: as on the command line, without `.yaml`.
        arguments: of the command; folders given by `--config-dir` are looked at too.
    """
    return recipe_trainer(name, [*recipe_folders(os.environ), *config_dirs(arguments)]) is not None


def refuse_wrong_trainer(folders: Sequence[Path]) -> None:
    """Stop this process if it is a trainer that the recipe or the slot in its command does not belong to.

    Args:
        folders: where `recipe/` folders are.

    Raises:
        SystemExit: with the right command on stderr.
    """
    module, arguments = running_module(), sys.argv[1:]
    problem = wrong_trainer(module, arguments, folders) or wrong_slot(module, arguments, folders)
    if problem is not None:
        print(explain([problem]), file=sys.stderr, flush=True)
        raise SystemExit(1)


def say_if_unchecked(argv: Sequence[str]) -> None:
    """A command may take our start-up checks out of the config; then nothing else of ours could say so."""
    if any(argument.startswith("~hydra.callbacks") for argument in argv):
        print(
            "verl-vsi: the start-up checks and the record of this run are off (~hydra.callbacks on the command line)",
            file=sys.stderr,
            flush=True,
        )


def running_module() -> str:
    """The module that ``python -m`` runs; empty where there is none."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else ""


def wrong_trainer(module: str, arguments: Sequence[str], folders: Sequence[Path]) -> Problem | None:
    """The right command for a recipe that was given to another trainer.

    Args:
        module: that was started.
        arguments: its words.
        folders: folders of recipes.
    """
    names = [a.lstrip("+").split("=", 1)[1] for a in arguments if a.lstrip("+").startswith(f"{_GROUP}=")]
    if not names or module not in COMMANDS:
        return None
    wanted = recipe_trainer(names[0], [*folders, *config_dirs(arguments)])
    if wanted is None or wanted == module:
        return None
    command = COMMANDS.get(wanted, f"python -m {wanted}")
    return Problem(
        f"recipe {names[0]} belongs to {wanted}, and this is {module}",
        f"{command} {shlex.join(arguments)}",
    )


def wrong_slot(module: str, arguments: Sequence[str], folders: Sequence[Path]) -> Problem | None:
    """The right command for ``model=`` under the SFT trainer, where it is a group of verl's own.

    Args:
        module: that ``python -m`` runs.
        arguments: of the command.
        folders: where our groups are, the user's included.
    """
    given = next((a for a in arguments if a.lstrip("+").startswith(_MODEL)), "").lstrip("+")
    option = given.removeprefix(_MODEL)
    known = any((folder / "model" / f"{option}.yaml").is_file() for folder in folders)
    if module not in (SFT, DPO) or not given or not known:
        return None
    right = [a.replace(_MODEL, _SFT_MODEL, 1) if a.lstrip("+") == given else a for a in arguments]
    return Problem(
        f"{given} would replace verl's own group `model` under {module}; there the slot is {_SFT_MODEL}",
        f"{COMMANDS[module]} {shlex.join(right)}",
    )


def recipe_trainer(name: str, folders: Sequence[Path], above: Sequence[str] = ()) -> str | None:
    """What `vsi.trainer` a recipe sets, by itself or through the recipes that it builds on; None where unknown.

    Args:
        name: of the recipe.
        folders: where `recipe/` folders are.
        above: recipes that build on it, the asked one first.

    Raises:
        RecipeFileError: its file, or one that it builds on, can't be read; or it builds on itself.
    """
    path = next((path for folder in folders if (path := folder / _GROUP / f"{name}.yaml").is_file()), None)
    if path is None:
        return None
    if name in above:
        raise RecipeFileError(f"{path}: the recipe builds on itself ({' -> '.join([*above, name])})")
    content = read_recipe(path)
    own = content.get("vsi")
    trainer = own.get("trainer") if isinstance(own, Mapping) else None
    if trainer:
        return str(trainer)
    defaults = content.get("defaults")
    bases = [entry for entry in defaults if isinstance(entry, str)] if isinstance(defaults, list) else []
    names = [base.rpartition("/")[2] for base in reversed(bases) if base != "_self_"]
    trainers = (recipe_trainer(base, folders, [*above, name]) for base in names)
    return next((trainer for trainer in trainers if trainer), None)


class RecipeFileError(ValueError):
    """A recipe's file can't be read; the message names file, line and cause."""


def read_recipe(path: Path) -> Mapping[str, Any]:
    """A recipe's file as it stands, before Hydra.

    Raises:
        RecipeFileError: it is no text, no YAML, or no mapping.
    """
    import yaml  # not needed in processes that were given no recipe

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeFileError(f"{path}{line}: not YAML ({error.problem})") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RecipeFileError(f"{path}: can't be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping | None):
        raise RecipeFileError(f"{path}: a recipe is a mapping of keys, and this is a {type(content).__name__}")
    return content or {}


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Folders given by ``--config-dir X``, ``--config-dir=X`` or ``-cd X``."""
    return [Path(value) for _, value in option_words(arguments, ("--config-dir", "-cd"))]


def option_words(arguments: Sequence[str], names: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """(its words, its value) of each option: ``--name X``, ``--name=X`` or ``-n X``.

    Args:
        arguments: a command's words.
        names: of the options, with their dashes.
    """
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, sign, value = argument.partition("=")
        if argument in names:
            yield [argument, following], following
        elif sign and name in names and name.startswith("--"):
            yield [argument], value
