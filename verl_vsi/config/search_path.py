"""Tell Hydra where recipes are: ours in the package, the user's in the folder that VSI_RECIPES names."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from verl_vsi.config.trainers import PACKAGE, USER_VARIABLE, recipe_folders, refuse_wrong_trainer, say_if_unchecked
from verl_vsi.on_import import on_import
from verl_vsi.run_mark import named_recipes

OURS = "pkg://verl_vsi.recipes"


def register() -> None:
    """Register a Hydra search path plug-in as soon as Hydra is imported: workers never do, and its scan takes time.

    Raises:
        NotADirectoryError: our recipes are not there, or VSI_RECIPES is set and is not a folder.
        SystemExit: the command misspells ``recipe``.
    """
    _have_ours(PACKAGE)
    search_paths(os.environ)
    _refuse_misspelt_recipe(sys.argv)
    on_import("hydra", _register)


def _refuse_misspelt_recipe(argv: Sequence[str]) -> None:
    """Look at words that could be one now: verl imports much after its plug-ins, and may fail there first."""
    keys = [word.partition("=")[0].lstrip("+") for word in argv[1:] if "=" in word]
    if any(key.isidentifier() for key in keys) and not named_recipes(argv):
        from verl_vsi.config.misspelt import check_words

        check_words(argv, recipe_folders(os.environ))


def _register(_: ModuleType) -> None:
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    from verl_vsi.config import misspelt, resolvers

    paths = search_paths(os.environ)

    class VsiSearchPath(SearchPathPlugin):
        """Appends, so that nothing of ours hides a config of verl's."""

        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            resolvers.register()
            refuse_wrong_trainer(recipe_folders(os.environ))
            say_if_unchecked(sys.argv)
            misspelt.check_words(sys.argv, recipe_folders(os.environ))
            for path in paths:
                search_path.append(provider="verl-vsi", path=path)

    Plugins.instance().register(VsiSearchPath)


def _have_ours(package: Path) -> None:
    """Without this, Hydra would take `+recipe=x` for a plain key, and verl's defaults would run."""
    if not (package / "recipes" / "recipe").is_dir():
        raise NotADirectoryError(
            f"{package / 'recipes'} is not a folder of recipes; in a checkout it is a symbolic link "
            "(git config core.symlinks true && git checkout -- verl_vsi)"
        )


def search_paths(env: Mapping[str, str]) -> list[str]:
    """Hydra search path entries; a user's recipe of the same name as ours loses, so names stay unambiguous."""
    folder = env.get(USER_VARIABLE, "").strip()
    if not folder:
        return [OURS]
    if not Path(folder).expanduser().is_dir():
        raise NotADirectoryError(
            f"{USER_VARIABLE}={folder} is not a folder. Set it to the folder that holds your recipe/*.yaml, or unset it"
        )
    return [OURS, f"file://{Path(folder).expanduser().resolve()}"]
