"""A recipe belongs to one trainer. Under another one, verl composes it without a word or fails far from the cause.

Some recipes do not even compose under the wrong trainer (they override a group that it lacks), so this looks at the
command and at the recipe's files, before Hydra composes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from verl_vsi.checks.problem import Problem, explain

PPO = "verl.trainer.main_ppo"
SFT = "verl.trainer.sft_trainer"
DPO = "verl_vsi.dpo"
_TORCHRUN = "torchrun --standalone --nproc_per_node=1 -m"
COMMANDS = {PPO: f"python -m {PPO}", SFT: f"{_TORCHRUN} {SFT}", DPO: f"{_TORCHRUN} {DPO}"}
"""How each trainer is started; under torchrun, a process for each GPU."""

_GROUP = "recipe"


def refuse_wrong_trainer(folders: Sequence[Path]) -> None:
    """Stop this process if it is a trainer that the recipe in its command does not belong to.

    Args:
        folders: where `recipe/` folders are.

    Raises:
        SystemExit: with the right command on stderr.
    """
    problem = wrong_trainer(running_module(), sys.argv[1:], folders)
    if problem is not None:
        print(explain([problem]), file=sys.stderr, flush=True)
        raise SystemExit(1)


def running_module() -> str:
    """The module that ``python -m`` runs; empty where there is none."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else ""


def wrong_trainer(module: str, arguments: Sequence[str], folders: Sequence[Path]) -> Problem | None:
    """The right command for a recipe that was given to another trainer."""
    names = [a.lstrip("+").split("=", 1)[1] for a in arguments if a.lstrip("+").startswith(f"{_GROUP}=")]
    if not names or module not in COMMANDS:
        return None
    wanted = recipe_trainer(names[0], [*folders, *_config_dirs(arguments)])
    if wanted is None or wanted == module:
        return None
    command = COMMANDS.get(wanted, f"python -m {wanted}")
    return Problem(
        f"recipe {names[0]} belongs to {wanted}, and this is {module}",
        f"{command} {shlex.join(arguments)}",
    )


def recipe_trainer(name: str, folders: Sequence[Path]) -> str | None:
    """What `vsi.trainer` a recipe sets, by itself or through the recipes that it builds on; None where unknown."""
    found = [path for folder in folders if (path := folder / _GROUP / f"{name}.yaml").is_file()]
    if not found:
        return None
    content = yaml.safe_load(found[0].read_text(encoding="utf-8")) or {}
    trainer = (content.get("vsi") or {}).get("trainer")
    if trainer:
        return trainer
    bases = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    trainers = (recipe_trainer(base.rpartition("/")[2], folders) for base in reversed(bases))
    return next((trainer for trainer in trainers if trainer), None)


def _config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Folders given by ``--config-dir X``, ``--config-dir=X`` or ``-cd X``."""
    folders = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("--config-dir", "-cd"):
            folders.append(Path(following))
        elif argument.startswith("--config-dir="):
            folders.append(Path(argument.partition("=")[2]))
    return folders
