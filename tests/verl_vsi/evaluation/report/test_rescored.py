"""Tables of other tools' answers: subsets by id, every rule, and the gap between video and no video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.report import app
from verl_vsi.evaluation.report.rescored import SEEDS, rescored_tables
from verl_vsi.evaluation.score.predictions import RULES, Prediction


def answers(right: int, count: int = 40) -> list[Prediction]:
    return [
        Prediction(str(i), "route_planning", "A", "A" if i < right else "B", pruned=i % 2 == 0, own=float(i < right))
        for i in range(count)
    ]


def test_each_subset_has_every_rule_and_the_files_own_scores() -> None:
    tables = rescored_tables({"model": answers(20)})
    assert list(tables) == ["full, 40 questions", "debiased, 20 questions", "pruned, 20 questions"]
    full = tables["full, 40 questions"]
    assert [row.name for row in full] == [*[f"model, {rule}" for rule in RULES], "model, as in the file"]
    assert {row.micro.mean for row in full if row.micro} == {50.0}


def test_removed_ids_decide_whatever_the_file_says() -> None:
    tables = rescored_tables({"model": answers(40)}, frozenset(str(i) for i in range(10)))
    assert list(tables) == ["full, 40 questions", "debiased, 30 questions", "pruned, 10 questions"]


def test_the_gap_is_paired_and_has_a_random_control() -> None:
    tables = rescored_tables({"model": answers(30), "model_blind": answers(10)})
    gap = next(row for row in tables["video − no video, full"] if row.name == "model, official")
    assert gap.micro is not None
    assert gap.micro.mean == pytest.approx(50.0)
    control = next(rows for title, rows in tables.items() if f"{SEEDS} seeds" in title)[0]
    assert control.micro is not None
    assert control.micro.mean == pytest.approx(50.0, abs=15)


def test_the_command_prints_both_averages_and_writes_them(tmp_path: Path) -> None:
    rows = [{"id": i, "question_type": "route_planning", "ground_truth": "A", "prediction": "A"} for i in range(9)]
    (tmp_path / "model.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = CliRunner().invoke(app, ["--predictions", str(tmp_path / "model.jsonl"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "macro" in done.output
    assert "| model, official | 100.0" in (tmp_path / "out" / "report.md").read_text()
