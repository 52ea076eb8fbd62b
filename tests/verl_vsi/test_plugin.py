"""verl's door: what it registers, what it says when it cannot, and that it stays light."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verl_vsi import plugin, run_mark
from verl_vsi.config import search_path

pytest.importorskip("verl")

BROKEN = """
import sys
sys.modules["verl_vsi.cpu.platform_choice"] = None  # any import of it raises
"""


def python(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=240
    )


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """PYTHONPATH of processes in which one of our registrations raises."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["main_ppo", "+recipe=vsgrpo_7b"], ["vsgrpo_7b"]),
        (["main_ppo", "trainer.nnodes=1", "++recipe=vsgrpo_7b"], ["vsgrpo_7b"]),
        (["main_ppo", "recipe=vsgrpo_7b"], ["vsgrpo_7b"]),
        (["main_ppo", "mode=think"], []),
        (["main_ppo", "trainer.recipe=x"], []),
        (["+recipe=program"], []),
        ([], []),
    ],
)
def test_only_an_argument_that_names_a_recipe_asks_for_one(argv: list[str], names: list[str]) -> None:
    assert run_mark.named_recipes(argv) == names


def test_a_broken_registration_is_named_and_keeps_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []
    monkeypatch.setattr(search_path, "register", lambda: registered.append("recipes"))
    failures = plugin.register_all(
        [
            plugin.Registration("the moon", "verl_vsi.no_such_module"),
            plugin.Registration("recipes", "verl_vsi.config.search_path"),
        ]
    )
    assert registered == ["recipes"]
    assert [failure.name for failure in failures] == ["the moon"]
    assert "ModuleNotFoundError" in failures[0].cause


def test_a_broken_plug_in_stops_a_run_that_asked_for_a_recipe(broken: str) -> None:
    run = python("-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", "--cfg", "job", PYTHONPATH=broken)
    assert run.returncode == 1
    assert "the CPU platform: ModuleNotFoundError" in run.stderr, "what failed and why"
    assert "verl-vsi doctor" in run.stderr, "the way out"
    assert "adv_estimator" not in run.stdout, "verl's defaults were composed"


def test_a_broken_plug_in_lets_other_processes_go_on_and_says_so(broken: str) -> None:
    run = python("-c", "import verl; print('went on')", PYTHONPATH=broken)
    assert run.returncode == 0
    assert run.stdout.endswith("went on\n")
    assert "the CPU platform: ModuleNotFoundError" in run.stderr


def test_the_plug_in_brings_no_heavy_import() -> None:
    """Beyond what verl has imported anyway."""
    program = (
        "import sys, verl; before = set(sys.modules); import verl_vsi.plugin;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before if sys.modules[name]}))"
    )
    run = python("-c", program, VERL_USE_EXTERNAL_PLUGINS="none")
    assert run.returncode == 0, run.stderr
    brought = set(run.stdout.splitlines()[-1].split())
    assert "verl_vsi" in brought
    assert brought <= {"verl_vsi"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("folder", "paths"),
    [(None, [search_path.OURS]), ("", [search_path.OURS]), ("{tmp}", [search_path.OURS, "file://{tmp}"])],
)
def test_a_users_folder_comes_after_ours(folder: str | None, paths: list[str], tmp_path: Path) -> None:
    env = {} if folder is None else {"VSI_RECIPES": folder.format(tmp=tmp_path)}
    assert search_path.search_paths(env) == [path.format(tmp=tmp_path.resolve()) for path in paths]


def test_a_checkout_without_symbolic_links_cannot_go_on_without_recipes(tmp_path: Path) -> None:
    (tmp_path / "recipes").write_text("../recipes")  # what git writes without core.symlinks
    with pytest.raises(NotADirectoryError, match=r"core\.symlinks true"):
        search_path._have_ours(tmp_path)


def test_a_users_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"VSI_RECIPES=.*nowhere is not a folder"):
        search_path.search_paths({"VSI_RECIPES": str(tmp_path / "nowhere")})


def test_a_users_own_recipe_composes_in_the_real_trainer(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\nalgorithm: {adv_estimator: rloo}\n")
    run = python("-m", "verl.trainer.main_ppo", "+recipe=mine", "--cfg", "job", VSI_RECIPES=str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "adv_estimator: rloo" in run.stdout
