"""Blocks of the pages that `test_docs` does not hold against commands: they are run, composed or imported."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from verl_vsi.config.recipes import Composer, composer
from verl_vsi.config.versions import TESTED_VERL
from verl_vsi.data_adapters.importers import import_rows
from verl_vsi.data_adapters.schema import Rejected
from verl_vsi.rewards.terms import TERMS, RewardSettings
from verl_vsi.rewards.vsgrpo import grade, respond

ROOT = Path(__file__).parents[2]
USERS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "recipes" / "README.md"])
"""Pages for users; CONTRIBUTING.md's commands are the developers' own and change their environments."""
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
HELD_IN_TEST_DOCS = ("verl-vsi", "python", "torchrun")
NEED_A_NETWORK = ("pip", "git")
OTHERS = ("cd", "export", "eval")
"""Of the shell."""


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of each line in an indented block that is a command."""
    for page in USERS:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"^!!!.*\n(?: {4}.*\n)+", "", text, flags=re.MULTILINE)
        for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE):
            words = shlex.split(line.split(" # ")[0], comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                yield str(page.relative_to(ROOT)), words


LINES = [(page, words) for page, words in shell_lines() if words[0] not in NEED_A_NETWORK + OTHERS]
NO_COMMANDS = {
    "docs/rewards.md": ("score", "="),
    "docs/training.md": ("verl-vsi:", "step"),
}
"""Lines of blocks that show something else."""


@pytest.mark.parametrize(("page", "words"), LINES, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in LINES])
def test_every_line_of_a_block_is_a_command_that_is_there(page: str, words: list[str]) -> None:
    name = Path(words[0]).name
    if name == "make":
        assert words[1] in TARGETS
    elif name == "bash":
        assert (ROOT / "recipes" / "scripts" / Path(words[1]).name).is_file(), words[1]
    elif name == "sbatch":
        assert (ROOT / words[1]).is_file(), words[1]
    elif name not in HELD_IN_TEST_DOCS:
        assert tuple(words[:2]) == NO_COMMANDS.get(page), f"{page}: {' '.join(words)} is held against nothing"


def fenced(language: str) -> list[tuple[str, str]]:
    pages = [*USERS, ROOT / "CONTRIBUTING.md"]
    return [
        (str(page.relative_to(ROOT)), block)
        for page in pages
        for block in re.findall(
            rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]


def test_all_fenced_blocks_are_of_a_kind_that_is_tried() -> None:
    kinds = {
        kind for page in USERS for kind in re.findall(r"^```(\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert kinds == {"python", "yaml"}


@pytest.mark.parametrize(("page", "block"), [(p, b) for p, b in fenced("python") if "@term" in b])
def test_a_reward_of_a_page_scores(page: str, block: str) -> None:
    before = dict(TERMS)
    try:
        exec(compile(block, page, "exec"), {})
        settings = RewardSettings({"accuracy": 1.0, "short": 0.2})
        parts = grade(respond("vsi100k/object_counting", "4", "4", {}, settings))
    finally:
        TERMS.clear()
        TERMS.update(before)
    assert parts["score"] == pytest.approx(1.2)


@pytest.mark.parametrize(("page", "block"), fenced("yaml"))
def test_a_recipe_or_ablation_of_a_page_composes(
    page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, command = ("recipe", ["mine"]) if "defaults:" in block else ("ablation", ["vsgrpo_2b", "ablation=[mine]"])
    (tmp_path / group).mkdir()
    # Hydra reads the package from the first line
    lines = sorted(block.splitlines(), key=lambda line: not line.startswith("# @package"))
    (tmp_path / group / "mine.yaml").write_text("\n".join(lines) + "\n")
    with composer(tmp_path) as compose:
        config = compose.recipe(command)
    values = yaml.safe_load(block)
    values.pop("defaults", None)
    for key, value in values.items():
        merged = OmegaConf.merge(config, {key: value})
        assert OmegaConf.to_container(merged) == OmegaConf.to_container(config), key


def test_the_questions_of_the_data_page_are_imported(tmp_path: Path) -> None:
    lines = re.findall(r'^ +(\{"question".*\})$', (ROOT / "docs" / "data.md").read_text(), re.MULTILINE)
    assert len(lines) == 2
    assert all(json.loads(line) for line in lines)
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    rows = list(import_rows(tmp_path / "mine.jsonl", split="train"))
    assert not [row for row in rows if isinstance(row, Rejected)]
    assert len(rows) == 2


def test_the_plain_script_sets_what_its_recipe_sets(compose: Composer, tmp_path: Path) -> None:
    """`run_video_cpu.sh` says that it is `vsgrpo_miniature passes=stock` in verl's own words."""
    script = (ROOT / "recipes" / "scripts" / "run_video_cpu.sh").read_text(encoding="utf-8")
    command = script[script.index("python -m verl.trainer.main_ppo") :].replace("\\\n", " ").replace('"$@"', "")
    words = [w.lstrip("+") for w in shlex.split(command)[3:]]
    recipe = compose.recipe("vsgrpo_miniature passes=stock")
    differing = {
        key
        for key, value in (word.split("=", 1) for word in words)
        if "$" not in value and OmegaConf.select(recipe, key) != yaml.safe_load(re.sub(r"^1e-4$", "1.0e-4", value))
        if not key.startswith(("trainer.", "data.vsi", "reward.custom_reward_function.reward_kwargs"))
    }
    assert differing <= {"data.train_batch_size", "actor_rollout_ref.actor.ppo_mini_batch_size"}


def test_the_required_verl_is_the_one_that_is_tested() -> None:
    lines = (ROOT / "recipes" / "REQUIRED_VERL.txt").read_text(encoding="utf-8").splitlines()
    pin = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert pin["VERL_TAG"] == f"v{TESTED_VERL}"
    assert pin["PIP_INSTALL"] == f"pip install verl=={TESTED_VERL}"
    assert "## Required `verl` version" in (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")


LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)\s#]+)")
GITHUBS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "recipes" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
"""Pages that MkDocs does not check."""


@pytest.mark.parametrize("page", GITHUBS, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
