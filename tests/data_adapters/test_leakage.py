"""The benchmark's scenes stay out of training, and the audit says what a file holds."""

import os
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.data_adapters.audit import audit
from verl_vsi.data_adapters.leakage import benchmark_scenes, guard, leak, scannet_split
from verl_vsi.data_adapters.rows import iter_rows, make_row, read_fingerprint, read_rows
from verl_vsi.data_adapters.scene_files import read_meta_info
from verl_vsi.data_adapters.schema import Question, Rejected, Scene
from verl_vsi.data_adapters.synthetic_rooms import make_room
from verl_vsi.data_adapters.vsi100k import BuildPlan, build, rejected_file

REAL = os.environ.get("VSI_META_INFO", "")


def _scene(name: str, dataset: str = "scannet") -> Scene:
    room = make_room(0, 1).scene
    return Scene(name, dataset, f"{dataset}/{name}.mp4", 20.0, room.boxes, room.counts)


def _row(scene: str, question: str, answer: str, task: str = "object_counting", kind: Any = "number", options=()):
    made = Question(task, question, answer, kind, scene, tuple(options))
    return make_row(made, dataset="scannet", video=f"scannet/{scene}.mp4", data_source="vsi100k", split="train")


def test_the_lists_are_the_published_ones():
    datasets = list(benchmark_scenes().values())
    assert {name: datasets.count(name) for name in set(datasets)} == {
        "arkitscenes": 150,
        "scannet": 88,
        "scannetpp": 50,
    }
    assert (len(scannet_split("train")), len(scannet_split("val"))) == (1201, 312)
    assert not scannet_split("train") & scannet_split("val")
    scannet = {scene for scene, dataset in benchmark_scenes().items() if dataset == "scannet"}
    assert scannet <= scannet_split("val")  # which is why the paper's set probably leaks


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        ("scene0025_01", "scene of VSI-Bench"),
        ("scene0011_00", "ScanNet val scan"),
        ("scene0191_00", None),  # a train scan
        ("room_0_000001", None),
        ("09c1414f1b", "scene of VSI-Bench"),  # ScanNet++
    ],
)
@pytest.mark.parametrize("dataset", ["scannet", "rooms", "my_copy"])
def test_the_guard_goes_by_the_scene_whatever_the_source(scene: str, reason: str | None, dataset: str):
    assert leak(scene) == reason
    (item,) = guard([_scene(scene, dataset)])
    assert item.reason == reason if isinstance(item, Rejected) else reason is None
    (item,) = guard([_scene(scene, dataset)], published=True)
    assert isinstance(item, Scene)


def test_a_clean_build_refuses_and_a_published_one_says_so(tmp_path: Path):
    scenes = [_scene(name) for name in ("scene0191_00", "scene0011_00", "scene0025_01")]
    clean = build(tmp_path / "clean.parquet", scenes, BuildPlan(), "test")
    assert clean.reasons == {"ScanNet val scan": 1, "scene of VSI-Bench": 1}
    assert "scene0025_01" in rejected_file(clean.path).read_text()
    assert {r["extra_info"]["scene_id"] for r in read_rows(clean.path)} == {"scene0191_00"}
    assert read_fingerprint(clean.path)["published"] is False
    published = build(tmp_path / "published.parquet", scenes, BuildPlan(published=True), "test")
    assert {r["extra_info"]["scene_id"] for r in read_rows(published.path)} == {s.id for s in scenes}
    assert read_fingerprint(published.path)["published"] is True
    assert published.rejected is None


def test_the_fingerprint_repeats_the_build(tmp_path: Path):
    mark = build(
        tmp_path / "a.parquet", [_scene("scene0191_00")], BuildPlan(rules="vsibench", seed=3), "here"
    ).fingerprint
    assert {k: mark[k] for k in ("rules", "seed", "source", "scenes")} == {
        "rules": "vsibench", "seed": 3, "source": "here", "scenes": 1,
    }  # fmt: skip


def test_a_killed_build_leaves_nothing_and_the_next_is_identical(tmp_path: Path):
    def killed():
        yield _scene("scene0191_00")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "a.parquet", killed(), BuildPlan(), "test")
    assert list(tmp_path.iterdir()) == []
    build(tmp_path / "a.parquet", [_scene("scene0191_00")], BuildPlan(), "test")
    build(tmp_path / "b.parquet", [_scene("scene0191_00")], BuildPlan(), "test")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_audit_finds_overlap_duplicates_and_contradictions():
    rows = [
        _row("scene0191_00", "How many chair(s)in the room?", "2"),
        _row("scene0191_00", "How many chair(s)in the room?", "2"),
        _row("scene0191_00", "How many table(s)in the room?", "2"),
        _row("scene0191_00", "How many table(s)in the room?", "4"),
        _row("scene0011_00", "How many chair(s)in the room?", "2"),
        _row("scene0025_01", "How many chair(s)in the room?", "2"),
    ]
    found = audit(rows)
    assert (found.rows, dict(found.scenes)) == (6, {"scene0191_00": 4, "scene0011_00": 1, "scene0025_01": 1})
    assert (found.benchmark, found.val_scans, found.leaks) == (
        ("scene0025_01",),
        ("scene0011_00", "scene0025_01"),
        True,
    )
    assert found.duplicates == {
        ("scene0191_00", "How many chair(s)in the room?"): 2,
        ("scene0191_00", "How many table(s)in the room?"): 2,
    }
    assert found.contradictions == (("scene0191_00", "How many table(s)in the room?"),)
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
        build(tmp_path / "none.parquet", read_meta_info(REAL), BuildPlan(rules), REAL)
    outcome = build(tmp_path / "a.parquet", read_meta_info(REAL), BuildPlan(rules, published=True), REAL)
    found = audit(iter_rows(outcome.path))
    assert set(found.benchmark) == set(found.scenes)
    assert len(found.scenes) == 88
    assert found.duplicates == {}
