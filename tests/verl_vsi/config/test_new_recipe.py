"""A recipe that `recipes new` writes is its base, until a line is taken out of its comment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

from verl_vsi.commands.recipes import app
from verl_vsi.config.recipes import composer, differences, settings
from verl_vsi.config.schema_check import check_node

pytest.importorskip("verl")

NAMED = {
    "trainer.experiment_name",
    "trainer.default_local_dir",
    "trainer.rollout_data_dir",
    "actor_rollout_ref.rollout.trace.experiment_name",
}


def new(folder: Path, *words: str) -> Path:
    result = CliRunner().invoke(app, ["new", *words, "--to", str(folder)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return folder / "recipe" / f"{words[0]}.yaml"


def changed(folder: Path, base: str) -> dict[str, tuple[object, object]]:
    """Keys in which `mine` differs from its base."""
    with composer(folder) as compose:
        first, second = (settings(compose.recipe(name)) for name in (base, "mine"))
    return {each.key: (each.first, each.second) for each in differences(first, second)}


@pytest.mark.parametrize("base", ["vsgrpo_miniature", "vsgrpo_7b", "sft_2b", "dpo_7b"])
def test_it_is_its_base_but_for_the_name_and_so_with_every_line_taken_in(base: str, tmp_path: Path) -> None:
    path = new(tmp_path, "mine", "--like", base)
    assert changed(tmp_path, base).keys() <= NAMED
    head, mark, keys = path.read_text().partition("#vsi:")
    path.write_text(head + re.sub("(?m)^#", "", mark + keys))
    assert changed(tmp_path, base).keys() <= NAMED
    with composer(tmp_path) as compose:
        node: Any = OmegaConf.to_container(compose.recipe("mine").vsi, resolve=True)
    assert not list(check_node(node))


def test_a_line_taken_in_with_its_groups_changes_one_key(tmp_path: Path) -> None:
    path = new(tmp_path, "mine")
    text = path.read_text()
    for line in ("vsi:", "  frames:", "    nframes: 16"):
        text = text.replace(f"#{line}", line)
    path.write_text(text.replace("nframes: 16", "nframes: 32"))
    assert changed(tmp_path, "vsgrpo_2b")["vsi.frames.nframes"] == (16, 32)


def test_its_first_lines_say_how_to_run_it(tmp_path: Path) -> None:
    text = new(tmp_path, "mine", "--like", "sft_2b").read_text()
    assert f"VSI_RECIPES={tmp_path} VSI_ROOT=/data/vsi torchrun --standalone" in text
    assert "+recipe=mine" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vsgrpo_2b"], "there is a recipe 'vsgrpo_2b' already"),
        (["a/b"], "'a/b' can't be a recipe's name"),
        (["-x"], "No such option"),
        (["mine", "--like", "vsgrpo_3b"], "there is no recipe 'vsgrpo_3b'"),
    ],
)
def test_what_can_not_be_a_recipe_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["new", *words, "--to", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_a_recipe_of_ones_own_is_not_written_over(tmp_path: Path) -> None:
    path = new(tmp_path, "mine")
    path.write_text("mine")
    assert CliRunner().invoke(app, ["new", "mine", "--to", str(tmp_path)]).exit_code == 2
    assert path.read_text() == "mine"
