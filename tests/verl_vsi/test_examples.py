"""Examples in docstrings give what they say."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import verl_vsi
from verl_vsi.rewards.terms import TERMS

ROOT = Path(verl_vsi.__file__).parent


def modules_with_examples() -> list[str]:
    """Dotted names of our modules whose docstrings hold examples; the two rooms behind links included."""
    files = {file for folder in (ROOT, *ROOT.iterdir()) if folder.is_dir() for file in folder.rglob("*.py")}
    names = {file.relative_to(ROOT.parent).with_suffix("") for file in files if ">>> " in file.read_text()}
    return sorted(".".join(name.parts).removesuffix(".__init__") for name in names)


@pytest.fixture(autouse=True)
def own_terms() -> Iterator[None]:
    """Forget the terms that an example registers."""
    before = dict(TERMS)
    yield
    TERMS.clear()
    TERMS.update(before)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_give_what_they_say(name: str) -> None:
    failed, attempted = doctest.testmod(import_module(name))
    assert not failed
    assert attempted


def test_the_reward_and_its_registry_carry_an_example() -> None:
    assert {"verl_vsi.rewards.vsgrpo", "verl_vsi.rewards.terms"} <= set(modules_with_examples())
