"""The audit says what a file holds, and what guessing would score."""

import os
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.data_adapters.audit import audit
from verl_vsi.data_adapters.rows import iter_rows, make_row
from verl_vsi.data_adapters.scene_files import read_meta_info
from verl_vsi.data_adapters.schema import Question
from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows

REAL = os.environ.get("VSI_META_INFO", "")


def _row(scene: str, question: str, answer: str, task: str = "object_counting", kind: Any = "number", options=()):
    item = Question(task, question, answer, kind, scene, tuple(options))
    return make_row(item, dataset="scannet", video=f"scannet/{scene}.mp4", data_source="vsi100k", split="train")


def test_the_audit_finds_overlap_duplicates_and_contradictions():
    rows = [
        _row("scene0191_00", "How many chair(s)in the room?", "2"),
        _row("scene0191_00", "How many chair(s)in the room?", "2"),
        _row("scene0191_00", "How many table(s)in the room?", "2"),
        _row("scene0191_00", "How many table(s)in the room?", "4"),
        _row("scene0011_00", "How many chair(s)in the room?", "2"),
        _row("scene0025_01", "How many chair(s)in the room?", "2"),
    ]
    report = audit(rows)
    assert (report.rows, dict(report.scenes)) == (6, {"scene0191_00": 4, "scene0011_00": 1, "scene0025_01": 1})
    assert (report.benchmark, report.val_scans, report.leaks) == (
        ("scene0025_01",),
        ("scene0011_00", "scene0025_01"),
        True,
    )
    assert report.duplicates == {
        ("scene0191_00", "How many chair(s)in the room?"): 2,
        ("scene0191_00", "How many table(s)in the room?"): 2,
    }
    assert report.contradictions == (("scene0191_00", "How many table(s)in the room?"),)
    assert not audit(rows[:3]).leaks


def test_the_audit_s_guesses_are_those_of_hand_sums():
    lettered = ["A. left", "B. right", "C. back"]
    rows = [
        *(_row("s", f"n{i}", a) for i, a in enumerate(["10", "10", "12"])),
        *(_row("s", f"e{i}", a, "object_rel_direction_easy", "word") for i, a in enumerate(["left", "left", "right"])),
        *(_row("s", f"m{i}", a, "object_rel_direction_medium", "choice", lettered) for i, a in enumerate("AAB")),
        *(_row("s", f"d{i}", a, "object_rel_distance", "word") for i, a in enumerate(["bed", "tv", "bed", "bed"])),
    ]
    tasks = audit(rows).tasks
    count = tasks["object_counting"]
    assert (count.most_frequent, count.chance) == ("10", None)
    assert count.most_frequent_score == pytest.approx((1 + 1 + 0.7) / 3)  # 10 against 12 is off by a sixth: 7 of 10
    assert tasks["object_rel_direction_easy"].chance == pytest.approx(1 / 2)
    assert tasks["object_rel_direction_easy"].most_frequent_score == pytest.approx(2 / 3)
    assert tasks["object_rel_direction_medium"].chance == pytest.approx(1 / 3)
    assert tasks["object_rel_distance"].chance == pytest.approx(1 / 4)
    assert dict(tasks["object_rel_distance"].answers) == {"bed": 3, "tv": 1}


@pytest.mark.skipif(not Path(REAL).is_file(), reason="VSI_META_INFO does not name the benchmark's meta-info file")
@pytest.mark.parametrize("rules", ["paper", "vsibench"])
def test_the_audit_flags_every_scene_of_the_benchmark_s_file(tmp_path: Path, rules: str):
    with pytest.raises(ValueError, match="no rows"):
        build_rows(tmp_path / "none.parquet", read_meta_info(REAL), BuildPlan(rules), REAL)
    outcome = build_rows(tmp_path / "a.parquet", read_meta_info(REAL), BuildPlan(rules, published=True), REAL)
    report = audit(iter_rows(outcome.path))
    assert set(report.benchmark) == set(report.scenes)
    assert len(report.scenes) == 88
    assert report.duplicates == {}
