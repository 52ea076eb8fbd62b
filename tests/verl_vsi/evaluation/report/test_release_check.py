"""Published values of test-set-training, on a made release of the same form: every answer right, or every one wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("text2digits")

from verl_vsi.commands.report import app
from verl_vsi.data_adapters.schema import NUMERIC, TASKS
from verl_vsi.evaluation.report.release_check import REMOVALS, RUNS, check_release

COUNT = 100
REMOVED = range(40)
"""Of the ids; in these the models answer rightly without video, too."""
FEW = range(10)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "data" / "preds").mkdir(parents=True)
    for file in RUNS.values():
        write_answers(tmp_path, file, range(COUNT))
        write_answers(tmp_path, f"{file}_blind", REMOVED)
    write_answers(tmp_path, "llava_vid_7b_blind", REMOVED)
    lists = dict.fromkeys(REMOVALS.values(), REMOVED) | {"ibp/rf/pf_b200/removed_ids.txt": FEW}
    lists |= {f"ibp/llm/vsi_pf_{kind}_removed_ids.txt": ids for kind, ids in {"mc": FEW, "num": range(38, 42)}.items()}
    for name, ids in lists.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("\n".join(map(str, ids)))
    expect(tmp_path)
    return tmp_path


def write_answers(release: Path, file: str, right: range) -> None:
    """100 questions, their types in turn. Numbers are right in words, which the score that was logged missed."""
    lines = []
    for number in range(COUNT):
        task, is_right = TASKS[number % len(TASKS)], number in right
        row: dict[str, Any] = {"id": number, "dataset": "scannet", "scene_name": "scene", "question_type": task}
        if task in NUMERIC:
            row |= {"ground_truth": "2", "prediction": "Two." if is_right else "9", "MRA:.5:.95:.05": 0.0}
        else:
            row |= {"ground_truth": "A", "prediction": "A" if is_right else "B", "accuracy": float(is_right)}
        lines.append(json.dumps(row))
    path = release / "data" / "preds" / f"{file}.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def expect(release: Path, **changed: float) -> None:
    """What must come out, by hand."""
    scores = {"vision_full": 100.0, "blind_full": 40.0, "gap_full": 60.0, "n_full": 100}
    scores |= {"vision_v1": 100.0, "blind_v1": 0.0, "gap_v1": 100.0, "n_v1": 60}
    tree: dict[str, Any] = dict.fromkeys(RUNS, scores | changed) | {"removed_ids": 40}
    tree["v1_composition"] = {"object_counting": {"original": 10, "removed": 4, "kept": 6}}
    (release / "expected_v1.json").write_text(json.dumps(tree))
    table13 = {"n_removed_llm": 14, "n_removed_rf": 40, "intersection": 12, "union": 42, "jaccard": 12 / 42}
    row = {"n_removed": 40, "n_kept": 60, "removed_pct": 40.0, "gap": 60.0}  # numbers as logged: all wrong
    tables = {"table10": {"rf_per_format_b1000": {next(iter(RUNS)): row}}, "table13": table13, "table8": {"n": 900}}
    (release / "expected_ibp.json").write_text(json.dumps(tables))


def test_every_value_is_computed_from_the_answers(release: Path) -> None:
    values = check_release(release)
    assert [value for value in values if not value.is_equal] == []
    assert len(values) == 8 * len(RUNS) + 1 + 3 + 5 + 4


def test_other_benchmarks_tables_are_left_out(release: Path) -> None:
    assert not [value for value in check_release(release) if value.name.startswith("table8")]


def test_random_removals_keep_the_gap_where_all_are_alike(release: Path) -> None:
    write_answers(release, "cambrian-s_blind", range(0))
    expected = {"cambrian_s_prerelease": {"random_control_54pct": {"random_mean": 100.0, "random_std_ddof1": 0.0}}}
    (release / "expected_v1.json").write_text(json.dumps(expected))
    assert all(value.is_equal for value in check_release(release))


def test_the_command_names_what_differs_and_fails(release: Path) -> None:
    assert CliRunner().invoke(app, ["--check", str(release)]).exit_code == 0
    expect(release, blind_v1=0.01)
    done = CliRunner().invoke(app, ["--check", str(release)])
    assert done.exit_code == 1
    assert "internvl3_9b.blind_v1: published 0.0100, here 0.0000" in done.output


def test_a_value_that_the_files_do_not_give_is_not_met(release: Path) -> None:
    expect(release, vision_hidden=1.0)
    assert "vision_hidden: published 1.0000, here no value" in CliRunner().invoke(app, ["--check", str(release)]).output


def test_another_folder_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--check", str(tmp_path)])
    assert done.exit_code == 2
    assert str(tmp_path) in done.output.replace("\n", "")
