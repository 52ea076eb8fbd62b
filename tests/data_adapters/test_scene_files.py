"""Scene files: ours come back as they were; of meta-info files, what is read, what is rejected and why."""

import json
import os
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.scene_files import from_record, read_meta_info, read_scenes, to_record, write_scenes
from verl_vsi.data_adapters.schema import Rejected, sort_out
from verl_vsi.data_adapters.synthetic_rooms import make_room

REAL = os.environ.get("VSI_META_INFO", "")
"""The benchmark authors' own file, for the tests that want it."""


def _bed(**changes) -> dict:
    box = {"centroid": [0.0, 1.0, 0.5], "axesLengths": [2.0, 1.0, 0.5], "normalizedAxes": [0, 1, 0, -1, 0, 0, 0, 0, 1]}
    return box | changes


def _record(**changes) -> dict:
    record = {
        "dataset": "scannet",
        "video_path": "/somewhere/scene0000_00.mp4",
        "room_size": 12.5,
        "object_counts": {"bed": 1},
        "object_bbox": {"bed": [_bed()]},
    }
    return record | changes


def _read(tmp_path, records: dict):
    (tmp_path / "meta.json").write_text(json.dumps(records))
    return sort_out(read_meta_info(tmp_path / "meta.json"))


def test_a_record_becomes_a_scene(tmp_path):
    (scene,), rejected = _read(tmp_path, {"scene0000_00": _record()})
    assert rejected == []
    assert (scene.id, scene.dataset, scene.video) == ("scene0000_00", "scannet", "scannet/scene0000_00.mp4")
    assert (scene.room_size, dict(scene.counts)) == (12.5, {"bed": 1})
    low, high = scene.boxes[0].corners.min(0), scene.boxes[0].corners.max(0)
    assert np.allclose(low, (-0.5, 0, 0.25))  # the long side lies along y: rows of normalizedAxes are the axes
    assert np.allclose(high, (0.5, 2, 0.75))


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (_record(object_bbox={}, object_counts={}), "scene without boxes", "no object"),
        (_record(object_bbox={"bed": [_bed(centroid=[0, float("nan"), 0])]}), "broken record", "'bed': centroid"),
        (_record(object_bbox={"bed": [_bed(axesLengths=[1, -1, 0])]}), "broken record", "extents must be positive"),
        (_record(object_bbox={"bed": [_bed(normalizedAxes=[1, 0])]}), "broken record", "reshape"),
        (_record(object_bbox={"bed": [{}]}), "broken record", "normalizedAxes"),
        (_record(room_size=-3), "broken record", "room_size must be positive m2, got -3"),
        ({"dataset": "scannet", "object_bbox": {}, "room_size": 1}, "incomplete record", "'object_counts' is missing"),
        (_record(dataset="../../etc"), "broken record", "leaves the data root"),
        (_record(object_counts=None), "broken record", "NoneType"),
        (_record(object_counts={"bed": None}), "broken record", "counts of 'bed' must be a whole number"),
        (_record(object_counts={"bed": 1.5}), "broken record", "whole number"),
        (_record(object_counts={"bed": True}), "broken record", "whole number"),
        (_record(object_counts=["bed"]), "broken record", "dict"),
        (_record(object_bbox=None), "broken record", "NoneType"),
        (_record(object_bbox={"bed": None}), "broken record", "NoneType"),
        (_record(object_bbox={"bed": [None]}), "broken record", "NoneType"),
        (_record(object_bbox={"bed\x1b[2J": [_bed()]}), "broken record", "printable"),
        (_record(object_bbox={"bed": [_bed(axesLengths=[1, 1, float("inf")])]}), "broken record", "finite"),
        (_record(object_bbox={"nightstand": [_bed(axesLengths=[49.16, 1, 1])]}), "broken record", "implausible"),
        (_record(room_size="large"), "broken record", "large"),
        (_record(room_size=float("nan")), "broken record", "room_size must be positive"),
        (None, "broken record", "NoneType"),
        ([1], "broken record", "list"),
    ],
)
def test_a_bad_record_is_rejected_with_its_reason(tmp_path, record, reason, detail):
    (good,), (bad,) = _read(tmp_path, {"good": _record(), "bad": record})
    assert good.id == "good"
    assert (bad.where, bad.reason) == ("bad", reason)
    assert detail in bad.detail


def test_an_object_counted_once_but_boxed_twice_is_not_asked_for(tmp_path):
    record = _record(object_counts={"bed": 1, "tv": 1, "sink": 1})
    record["object_bbox"] = {"bed": [_bed(), _bed(centroid=[3, 0, 0])], "tv": [_bed()], "sink": [_bed()]}
    (scene,), _ = _read(tmp_path, {"scene0000_00": record})
    assert [b.category for b in scene.singles] == ["tv", "sink"]


@pytest.mark.parametrize(("text", "message"), [("[1]", "expected one object"), ('{"a": ', "not JSON")])
def test_another_file_is_refused(tmp_path, text, message):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_meta_info(tmp_path / "meta.json"))


def test_scene_records_come_back_as_they_were(tmp_path):
    scenes = [make_room(0, i).scene for i in range(3)]
    assert write_scenes(tmp_path / "a.scenes.jsonl", scenes) == 3
    again = sort_out(read_scenes(tmp_path / "a.scenes.jsonl"))[0]
    assert [to_record(s) for s in again] == [to_record(s) for s in scenes]


def test_a_broken_scene_record_is_named_with_its_line(tmp_path):
    record = to_record(make_room(0, 0).scene)
    with pytest.raises(ValueError, match="'counts' is missing"):
        from_record({k: v for k, v in record.items() if k != "counts"})
    record["boxes"][0]["centroid"][1] = float("nan")
    with pytest.raises(ValueError, match=r"line 1, scene 'room_0_000000': box '\w+': centroid .*nan"):
        from_record(record, "x.jsonl, line 1")
    (tmp_path / "cut.jsonl").write_text('{"id": "ro')
    (cut,) = read_scenes(tmp_path / "cut.jsonl")
    assert isinstance(cut, Rejected)
    assert "line 1: not JSON" in cut.detail


def _raw_shell(box: dict) -> np.ndarray:
    """The benchmark's points of a box, written down a second time, without our classes."""
    size, turn = np.array(box["axesLengths"]), np.array(box["normalizedAxes"]).reshape(3, 3).T
    ticks = [np.linspace(-s / 2, s / 2, int(np.ceil(s / 0.05))) for s in size]
    points = np.array([p for p in product(*ticks) if any(abs(x) > s / 4 for x, s in zip(p, size, strict=True))])
    return (turn @ points.T).T + box["centroid"]


@pytest.mark.skipif(not Path(REAL).is_file(), reason="VSI_META_INFO does not name the benchmark's meta-info file")
class TestRealScenes:
    raw = json.loads(Path(REAL).read_text()) if Path(REAL).is_file() else {}

    def questions(self, rules: str, task: str, n: int):
        scenes, rejected = sort_out(read_meta_info(REAL))
        assert (len(scenes), rejected) == (len(self.raw), [])
        return [q for q, _ in build_questions(scenes, rules, tasks=[task], quotas=Quotas(per_scene={task: n}))]

    @pytest.mark.parametrize("rules", ["paper", "vsibench"])
    def test_all_of_a_scene_s_counts_are_the_file_s(self, rules):
        questions = self.questions(rules, "object_counting", 1000)
        assert len(questions) == sum(n >= 2 for r in self.raw.values() for n in r["object_counts"].values())
        for q in questions:
            assert self.raw[q.scene_id]["object_counts"][q.trace["objects"][0]] == int(q.answer)

    def test_all_centre_distances_are_those_of_the_file(self):
        questions = self.questions("paper", "object_abs_distance", 1000)
        singles = [
            sum(n == 1 == len(r["object_bbox"][c]) for c, n in r["object_counts"].items()) for r in self.raw.values()
        ]
        assert len(questions) == sum(n * (n - 1) // 2 for n in singles)
        for q in questions:
            a, b = (np.array(self.raw[q.scene_id]["object_bbox"][c][0]["centroid"]) for c in q.trace["objects"])
            assert float(q.answer) == pytest.approx(np.linalg.norm(a - b), abs=0.0501)

    def test_closest_point_distances_are_those_of_the_file(self):
        questions = self.questions("vsibench", "object_abs_distance", 1)
        assert len(questions) > 60
        for q in questions:
            a, b = (_raw_shell(self.raw[q.scene_id]["object_bbox"][c][0]) for c in q.trace["objects"])
            assert float(q.answer) == pytest.approx(cdist(a, b).min(), abs=0.0501)

    def test_every_task_of_both_rule_sets_is_asked(self):
        scenes, _ = sort_out(read_meta_info(REAL))
        counts = {name: Counter(q.task for q, _ in build_questions(scenes, name)) for name in ("paper", "vsibench")}
        assert len(counts["paper"]) == 6
        assert len(counts["vsibench"]) == 8  # no route planning; no times, so no order of appearance
