"""The audit says what a file holds, and what guessing would score."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from verl_vsi.data_adapters.audit import audit
from verl_vsi.data_adapters.copies import benchmark_copies
from verl_vsi.data_adapters.rows import FINGERPRINT, iter_rows, make_row, read_fingerprint, write_rows
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


def test_the_audit_reads_rows_of_any_shape_and_names_those_that_cannot_be_scored():
    good = _row("scene0191_00", "How many chair(s)in the room?", "2")
    broken = [
        good | {"videos": []},
        good | {"videos": None},
        good | {"videos": ["../a.mp4"]},
        good | {"extra_info": None, "data_source": "vsi100k/object_counting"},
        good | {"reward_model": {"ground_truth": "three"}},
        good | {"reward_model": {"ground_truth": None}},
        good | {"reward_model": {"ground_truth": ""}},
        good | {"reward_model": {"ground_truth": "nan"}},
        good | {"reward_model": None},
        good | {"prompt": []},
        good | {"prompt": [{"role": "user", "content": "no mark"}]},
        good | {"extra_info": good["extra_info"] | {"kind": "letter"}},
        good | {"extra_info": good["extra_info"] | {"kind": "word"}, "reward_model": {"ground_truth": "A"}},
        good | {"extra_info": good["extra_info"] | {"options": "A. x"}},
    ]
    report = audit([good, *broken])
    assert report.rows == 15
    assert sorted(number for numbers in report.problems.values() for number in numbers) == [
        n
        for n in range(1, 15)
        if n != 4  # a row without extra_info says what it must by its data_source
    ]
    problems = "\n".join(report.problems)
    for words in (
        "1 marks <video> for 0 videos", "leaves the data root", "'three' is not a number", "got None", "no answer",
        "'nan' is not a number", "structures with named fields", "0 marks <video> for 1 videos", "list of turns",
        "kind 'letter' is unknown", "'A' is unreachable", "options must be a list of texts",
    ):  # fmt: skip
        assert words in problems


def test_truths_are_held_against_the_run_s_own_extraction():
    row = _row("scene0191_00", "Which is it?", "trash can", "object_rel_distance", "word")
    assert audit([row]).problems == {}
    (problem,) = audit([row], "official").problems
    assert "'trash can' is unreachable: the extraction 'official' reads 'trash'" in problem


def test_repeated_indices_and_edited_rows_are_seen(tmp_path: Path):
    rows = [_row("scene0191_00", f"How many {name}(s)in the room?", "2") for name in ("chair", "table", "sofa")]
    assert audit(rows).repeated_indices == 2  # each is numbered 0 until it is written
    fingerprint = write_rows(tmp_path / "a.parquet", rows, {})
    report = audit(iter_rows(tmp_path / "a.parquet"))
    assert (report.repeated_indices, report.sha256) == (0, fingerprint["sha256"])
    table = pq.read_table(tmp_path / "a.parquet")
    for name, edited in (("less", table.slice(0, 2)), ("turned", table.take([2, 1, 0]))):
        metadata = {FINGERPRINT: json.dumps(fingerprint)}  # kept, as by tools that copy a file's metadata
        pq.write_table(edited.replace_schema_metadata(metadata), tmp_path / f"{name}.parquet")
        assert read_fingerprint(tmp_path / f"{name}.parquet") == fingerprint
        assert audit(iter_rows(tmp_path / f"{name}.parquet")).sha256 != fingerprint["sha256"]


@pytest.mark.parametrize("scene", [None, "my_room", "SCENE0025_01 "])
def test_a_scene_of_the_benchmark_is_seen_in_the_video_s_path(scene: str | None):
    row = _row("scene0191_00", "How many chair(s)in the room?", "2")
    row["videos"], row["extra_info"]["scene_id"] = ["scannet/scene0025_01.mp4"], scene
    report = audit([row])
    assert (report.benchmark, report.leaks) == (("scene0025_01",), True)


def test_copies_of_the_benchmark_s_videos_are_told_by_content(tmp_path: Path):
    for name, content in {
        "scannet/scene0025_01.mp4": b"video", "arkitscenes/41069025.mp4": b"another",
        "mine/a.mp4": b"video", "mine/b.mp4": b"vidio", "mine/c.mp4": b"longer than these",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    rows = [{"videos": [f"mine/{name}.mp4"]} for name in "abcx"] + [{"videos": ["../etc"]}, {"videos": None}]
    assert benchmark_copies(rows, tmp_path) == {"mine/a.mp4": "scene0025_01"}


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
