"""The pages build without a warning, and every command in them is one that exists: options known, recipes composing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from verl_vsi.cli import COMMANDS, load
from verl_vsi.config.recipes import Composer

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "recipes" / "README.md", ROOT / "CONTRIBUTING.md"]
)
TRAINERS = ("verl.trainer.main_ppo", "verl.trainer.sft_trainer", "verl_vsi.dpo")
NOT_OURS = {"+recipe=bold", "+recipe=NAME", "ablation=[my_kl]"}
"""What a page lets the reader write."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every command in a code block or in back ticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("$P ", "python -m verl.trainer.main_ppo ")
        text = re.sub(r"\$[TD] ", "torchrun -m verl.trainer.sft_trainer ", text)
        for line in [*re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)]:
            command = line.split(" # ")[0].split("(")[0].replace("...", "").strip()
            if "verl-vsi " in command or any(f"-m {trainer}" in command for trainer in TRAINERS):
                words = shlex.split(command)
                yield str(page.relative_to(ROOT)), words[: words.index(";")] if ";" in words else words


OURS = [(page, words) for page, words in commands() if any(word.endswith("verl-vsi") for word in words)]
TRAININGS = [(page, words) for page, words in commands() if any(word.startswith("+recipe=") for word in words)]


def ids(cases: list[tuple[str, list[str]]]) -> list[str]:
    return [f"{page}: {' '.join(words)[:80]}" for page, words in cases]


@pytest.mark.parametrize(("page", "words"), OURS, ids=ids(OURS))
def test_a_command_of_ours_exists_with_its_options(page: str, words: list[str]) -> None:
    start = next(number for number, word in enumerate(words) if word.endswith("verl-vsi")) + 1
    if words[start:] in ([], ["--help"]):
        return
    assert words[start] in COMMANDS, f"{page}: there is no command {words[start]}"
    command = load(words[start])
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words[start + 1 :]:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
            known |= {option for parameter in command.params for option in parameter.opts}
        elif word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: {words[start]} has no {word}"


@pytest.mark.parametrize(("page", "words"), TRAININGS, ids=ids(TRAININGS))
def test_a_training_composes(page: str, words: list[str], compose: Composer) -> None:
    overrides = [word for word in words if re.match(r"\+?[\w./@]+=", word) and not word.startswith(("VSI_", "VERL_"))]
    recipe = next(word for word in overrides if word.startswith("+recipe=")).removeprefix("+recipe=")
    if NOT_OURS & set(overrides):
        pytest.skip("the reader's own")
    assert compose.recipe([recipe, *(word for word in overrides if not word.startswith("+recipe="))]).vsi.trainer


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    keys = (tmp_path / "reference" / "keys" / "index.html").read_text(encoding="utf-8")
    assert "vsi.frames.nframes" in keys
    names = (tmp_path / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert all(f"verl-vsi {name}" in names for name in COMMANDS)
