"""Folders of a run whose workers have other working folders than the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from verl_vsi.config.recipes import Composer
from verl_vsi.preflight.settings import check_outputs

ROOT = "vsi.root=/data/vsi"
RAY_JOB = "runtime_resources/working_dir_files/_ray_pkg_0a1b"


@pytest.mark.parametrize(
    ("command", "folder", "refused"),
    [
        (f"vsgrpo_7b hardware=2x8 {ROOT}", "", ["trainer.default_local_dir"]),  # the default: outputs/<name>
        (f"vsgrpo_7b hardware=2x8 {ROOT} trainer.default_local_dir=/data/outputs/a", "", []),
        (
            "vsgrpo_7b hardware=2x8 vsi.root=data trainer.default_local_dir=o",
            "",
            ["trainer.default_local_dir", "vsi.root"],
        ),
        (f"vsgrpo_7b {ROOT}", "", []),  # one node: the command's own folder
        (f"vsgrpo_7b {ROOT}", RAY_JOB, ["trainer.default_local_dir"]),  # ray job submit --working-dir
        (f"sft_7b {ROOT}", "", []),
    ],
)
def test_a_relative_folder_is_refused_where_it_would_be_lost(
    compose: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, folder: str, refused: list[str]
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / folder)
    problems = list(check_outputs(compose.recipe(command)))
    assert [problem.what.partition("=")[0] for problem in problems] == refused
    assert all("every node" in problem.fix for problem in problems)
