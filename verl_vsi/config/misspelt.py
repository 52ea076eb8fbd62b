"""Words of a command that name a recipe, a slot or an option which is not there, before Hydra composes.

Hydra takes `+recpie=x` for a new key, and for an unknown ablation it lists none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from verl_vsi.config.problems import Problem, explain
from verl_vsi.config.recipes import GROUPS, options
from verl_vsi.config.trainers import config_dirs
from verl_vsi.run_mark import named_recipes

_RECIPE = "recipe"
SLOTS = tuple(group for group in GROUPS if "/" not in group)
"""What a command may choose in a recipe by name."""


def check_words(argv: Sequence[str], folders: Sequence[Path]) -> None:
    """Stop a run whose recipe is misspelt in its key; say what Hydra will refuse next, with what was meant.

    Args:
        argv: of this process, the program's name first.
        folders: where recipes and their groups are.

    Raises:
        SystemExit: a word such as ``+recpie=vsgrpo_2b``, which Hydra would take for a key.
    """
    where = [*folders, *config_dirs(argv[1:])]
    if (problem := misspelt_recipe(argv, where)) is not None:
        print(explain([problem]), file=sys.stderr, flush=True)
        raise SystemExit(1)
    if named_recipes(argv):
        for problem in unknown_options(argv, where):
            print(f"verl-vsi: {problem.what}; {problem.fix}", file=sys.stderr, flush=True)


def misspelt_recipe(argv: Sequence[str], folders: Sequence[Path]) -> Problem | None:
    """A key that is nearly ``recipe``, with the name of a recipe as its value.

    Args:
        argv: of this process, the program's name first.
        folders: where recipes are.
    """
    for word in argv[1:]:
        key, _, value = word.lstrip("+").partition("=")
        is_near = key != _RECIPE and "." not in key and _near(key, [_RECIPE]) is not None
        if is_near and value in options(_RECIPE, folders):
            return Problem(f"{word}: there is no '{key}'", f"did you mean +{_RECIPE}={value}?")
    return None


def unknown_options(argv: Sequence[str], folders: Sequence[Path]) -> Iterator[Problem]:
    """Each word that chooses what a slot does not offer, in a command that names a recipe.

    Args:
        argv: of this process, the program's name first.
        folders: where recipes and their groups are.
    """
    for name in named_recipes(argv):
        yield from _unknown(_RECIPE, name, folders)
    for word in argv[1:]:
        key, sign, value = word.partition("=")
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        plain = key.lstrip("+")
        if not sign or plain == _RECIPE:
            continue
        if plain not in SLOTS:
            if "." not in plain and (near := _near(plain, SLOTS)) and set(names) <= set(options(near, folders)):
                yield Problem(f"{word}: there is no '{plain}'", f"did you mean {near}={value}?")
            continue
        if key != plain:
            yield Problem(f"{word}: every recipe has a {plain}, so nothing is added", f"write {plain}={value}")
        for name in names:
            yield from _unknown(plain, name, folders)


def _unknown(group: str, name: str, folders: Sequence[Path]) -> Iterator[Problem]:
    known = [option for option in options(group, folders) if not option.startswith("_")]
    if name not in known and name != "null":
        near = _near(name, known)
        meant = f"did you mean {near}? " if near else ""
        yield Problem(f"{group}={name}: there is no such {group}", f"{meant}There are {', '.join(known)}")


def _near(word: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant; underscores and case count for nothing."""
    by_letters = {option.replace("_", "").lower(): option for option in known}
    found = get_close_matches(word.replace("_", "").lower(), list(by_letters), n=1)
    return by_letters[found[0]] if found else None
