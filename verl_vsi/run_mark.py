"""Whether this process belongs to a run of ours: one that a recipe of ours has started.

verl loads a plug-in in every process that imports it, other people's runs included. What changes verl is therefore done
only where the mark is set: an environment variable that the driver sets when its command names a recipe that lies in
one of our folders, and that travels to Ray's workers through the runtime environment (`recipe/_grpo.yaml`) and to other
child processes by inheritance.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence

VARIABLE = "VSI_RUN"
"""Name of the recipe, or of the command of ours, that started the run."""

_GROUP = "recipe="


def is_ours() -> bool:
    """Whether this process carries the mark."""
    return bool(os.environ.get(VARIABLE, "").strip())


def mark(name: str, env: MutableMapping[str, str] = os.environ) -> None:
    """Let this process and its children belong to a run of ours; a mark that is there stays.

    Args:
        name: of the recipe, or who marks.
        env: the process's environment.
    """
    if not env.get(VARIABLE, "").strip():
        env[VARIABLE] = name


def named_recipes(argv: Sequence[str]) -> list[str]:
    """The recipes that a command names, as `recipe=x`, `+recipe=x` or `++recipe=x`; ours or somebody else's."""
    plain = [argument.lstrip("+") for argument in argv[1:]]
    return [argument.removeprefix(_GROUP) for argument in plain if argument.startswith(_GROUP)]


def mark_by_command(argv: Sequence[str]) -> bool:
    """Mark this process if its command names a recipe of ours (or of a user's, built on ours).

    Returns:
        Whether the process belongs to a run of ours, by this mark or an earlier one.

    Raises:
        OSError: our recipes are not there, or VSI_RECIPES names no folder.
    """
    names = named_recipes(argv)
    if names and not is_ours():
        from verl_vsi.config.trainers import is_our_recipe

        if any(is_our_recipe(name, argv[1:]) for name in names):
            mark(names[0])
    return is_ours()


def start_again_marked(name: str) -> None:
    """Start this very command anew, marked: for a recipe that came in by another way than the command line.

    A primary config of one's own may list a recipe in its `defaults`. verl is imported by then, unmarked; nothing has
    been started yet, so starting over is exact and costs seconds.
    """
    mark(name)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
