"""Cards that the hub's own library reads, and that say no more than the record does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.card import app
from verl_vsi.data_adapters.rows import make_row, read_fingerprint, write_rows
from verl_vsi.data_adapters.schema import TASKS, Question
from verl_vsi.evaluation.items import Reply
from verl_vsi.evaluation.labels import Labels
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.score.result import journal_path, make_result, write_result

LABELS = Labels(tasks="vsibench", averaging="macro average of VSI-Bench's eight tasks", model="m", condition="normal",
                set="vsibench", data={"sha256": "ab" * 32}, preset="official", mode="vanilla", prompts="official",
                extraction="official", frames="f", nframes=32, min_pixels=1, max_pixels=2,
                decoding="greedy")  # fmt: skip


def rows_of(path: Path, scene: str) -> Path:
    question = Question("object_counting", "How many chair(s)in the room?", "3", "number", scene)
    row = make_row(question, dataset="scannet", video=f"scannet/{scene}.mp4", data_source="vsi100k", split="train")
    write_rows(path, [row], {"builder": "data build", "rules": "paper", "seed": 0})
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = rows_of(tmp_path / "secret_place" / "train.parquet", "scene0006_00")
    record = {
        "recipe": "vsgrpo_2b", "trainer": "verl.trainer.main_ppo", "seed": 1, "status": "ended", "step": 500,
        "overrides": ["mode=think", "vsi.root=/secret_place/data"],
        "versions": {"verl": "0.9.1"}, "model": {"name": "Qwen/Qwen2-VL-2B-Instruct"},
        "resolved": {"vsi": {"mode": "think"}, "actor_rollout_ref": {"rollout": {"n": 14}}},
        "data": {"train_files": [{"file": str(rows), "fingerprint": read_fingerprint(rows)}]},
    }  # fmt: skip
    (tmp_path / "run" / "provenance").mkdir(parents=True)
    (tmp_path / "run" / "provenance" / "1.json").write_text(json.dumps(record))
    return tmp_path / "run"


@pytest.fixture
def results(tmp_path: Path, make_item: Any) -> Path:
    items = [make_item(i, TASKS[i % 10]) for i in range(20)]
    replies = {item.index: Reply(item.index, "ok", item.truth) for item in items}
    write_result(tmp_path / "eval" / "normal.json", make_result(items, replies, make_protocol("official"), LABELS))
    journal_path(tmp_path / "eval" / "normal.json").touch()
    return tmp_path / "eval"


def test_the_hubs_library_reads_both_cards(run: Path, results: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    words = [str(run), "--results", str(results), "--license", "apache-2.0", "--data-license", "cc-by-nc-4.0"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "card")])
    assert done.exit_code == 0, done.output
    model = hub.ModelCard((tmp_path / "card" / "README.md").read_text())
    assert (model.data.license, model.data.base_model) == ("apache-2.0", "Qwen/Qwen2-VL-2B-Instruct")
    scores = {entry.metric_type: entry.metric_value for entry in model.data.eval_results}
    assert scores["macro_average"] == scores["object_counting"] == 100.0
    data = hub.DatasetCard((tmp_path / "card" / "data" / "train" / "README.md").read_text())
    assert data.data.license == "cc-by-nc-4.0"
    assert "No row names a scene of VSI-Bench" in data.text
    settings = ("| rollouts a question | 14 |", "| LoRA rank | not known |", "`mode=think`", "`vsi.root=data`")
    for words in (*settings, "100.0 [", "No row names a scene"):
        assert words in model.text, words
    assert "secret_place" not in model.content


def test_a_card_without_licence_results_or_rows_says_so(run: Path, tmp_path: Path) -> None:
    record = json.loads((run / "provenance" / "1.json").read_text())
    Path(record["data"]["train_files"][0]["file"]).unlink()
    done = CliRunner().invoke(app, [str(run), "--out", str(tmp_path / "card")])
    assert done.exit_code == 0, done.output
    assert "no data card, and no leak check" in " ".join(done.output.split())
    text = (tmp_path / "card" / "README.md").read_text()
    assert "**Licence: not set.**" in text
    assert "Not evaluated" in text


def test_rows_that_leak_are_told(run: Path, tmp_path: Path) -> None:
    record = json.loads((run / "provenance" / "1.json").read_text())
    rows_of(Path(record["data"]["train_files"][0]["file"]), "scene0025_01")
    CliRunner().invoke(app, [str(run), "--out", str(tmp_path / "card")])
    assert "**1 scenes of VSI-Bench" in (tmp_path / "card" / "README.md").read_text()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "card")])
    assert done.exit_code == 2
    assert "no record of a start" in " ".join(done.output.split())
