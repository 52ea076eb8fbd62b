from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.recipes import app
from verl_vsi.config import provenance
from verl_vsi.data_adapters.versions import versions

RECORD = {
    "recipe": "vsgrpo_2b",
    "trainer": "verl.trainer.main_ppo",
    "overrides": ["+recipe=vsgrpo_2b", "ablation=[no_kl]"],
    "command": "python -m verl.trainer.main_ppo +recipe=vsgrpo_2b 'ablation=[no_kl]'",
    "start": "2026-01-01T00:00:00+00:00",
    "end": None,
    "status": "started",
    "step": None,
    "checkpoint": None,
    "versions": {"verl": "0.9.1"},
    "data": {"train_files": [{"file": "rows/train.parquet", "fingerprint": {"sha256": "ab" * 32}}]},
    "resolved": {},
}


def test_a_record_is_read_back_and_finished(tmp_path: Path) -> None:
    path = tmp_path / "run" / provenance.FOLDER / "1.json"
    provenance.write(RECORD, path)
    provenance.finish(path, "completed")
    record = provenance.read(path)
    assert record["status"] == "completed"
    assert record["end"] > record["start"]
    assert {**record, "end": None, "status": "started"} == RECORD


def test_stamps_sort_by_time_and_the_last_start_is_the_latest(tmp_path: Path) -> None:
    first, second = provenance.stamp(), provenance.stamp()
    assert first <= second
    provenance.write({"n": 1}, tmp_path / provenance.FOLDER / "20260101T000000.000000Z.json")
    provenance.write({"n": 2}, tmp_path / provenance.FOLDER / "20260101T000000.000001Z.json")
    assert provenance.latest(tmp_path) == {"n": 2}
    assert provenance.latest(tmp_path / "no run") is None


def test_the_command_is_quoted_for_a_shell() -> None:
    assert provenance.repeat(RECORD["trainer"], RECORD["overrides"]) == RECORD["command"]


def test_versions_are_those_of_installed_packages() -> None:
    found = versions(["verl-vsi", "no-such-package"])
    assert list(found) == ["verl-vsi"]


@pytest.mark.parametrize("whole_folder", [True, False])
def test_recipes_show_prints_how_to_repeat_a_run(tmp_path: Path, whole_folder: bool) -> None:
    path = tmp_path / provenance.FOLDER / "1.json"
    provenance.write(RECORD, path)
    result = CliRunner().invoke(app, ["show", str(tmp_path if whole_folder else path)])
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == RECORD["command"]
    assert "verl 0.9.1" in result.output
    assert "abababababababab" in result.output


def test_a_folder_without_runs_is_an_error_with_its_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(tmp_path)])
    assert result.exit_code == 2
    assert str(tmp_path.name) in result.output.replace("\n", "")


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    provenance.write({"path": Path("/x")}, path)
    assert json.loads(path.read_text()) == {"path": "/x"}
