"""Builds keep leaks out, say how they were made, and come whole or not at all."""

from pathlib import Path

import pytest

from verl_vsi.data_adapters.rows import read_fingerprint, read_rows
from verl_vsi.data_adapters.schema import Scene
from verl_vsi.data_adapters.synthetic_rooms import make_room
from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows, rejected_file


def _scene(name: str) -> Scene:
    room = make_room(0, 1).scene
    return Scene(name, "scannet", f"scannet/{name}.mp4", 20.0, room.boxes, room.counts)


def test_a_clean_build_refuses_and_a_published_one_says_so(tmp_path: Path):
    scenes = [_scene(name) for name in ("scene0191_00", "scene0011_00", "scene0025_01")]
    clean = build_rows(tmp_path / "clean.parquet", scenes, BuildPlan(), "test")
    assert clean.reasons == {"ScanNet val scan": 1, "scene of VSI-Bench": 1}
    assert "scene0025_01" in rejected_file(clean.path).read_text()
    assert {r["extra_info"]["scene_id"] for r in read_rows(clean.path)} == {"scene0191_00"}
    assert read_fingerprint(clean.path)["published"] is False
    published = build_rows(tmp_path / "published.parquet", scenes, BuildPlan(published=True), "test")
    assert {r["extra_info"]["scene_id"] for r in read_rows(published.path)} == {s.id for s in scenes}
    assert read_fingerprint(published.path)["published"] is True
    assert published.rejected is None


def test_the_fingerprint_repeats_the_build(tmp_path: Path):
    plan = BuildPlan(rules="vsibench", seed=3)
    fingerprint = build_rows(tmp_path / "a.parquet", [_scene("scene0191_00")], plan, "here").fingerprint
    assert {k: fingerprint[k] for k in ("rules", "seed", "source", "scenes")} == {
        "rules": "vsibench", "seed": 3, "source": "here", "scenes": 1,
    }  # fmt: skip


def test_a_killed_build_leaves_nothing_and_the_next_is_identical(tmp_path: Path):
    def killed():
        yield _scene("scene0191_00")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_rows(tmp_path / "a.parquet", killed(), BuildPlan(), "test")
    assert list(tmp_path.iterdir()) == []
    build_rows(tmp_path / "a.parquet", [_scene("scene0191_00")], BuildPlan(), "test")
    build_rows(tmp_path / "b.parquet", [_scene("scene0191_00")], BuildPlan(), "test")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
