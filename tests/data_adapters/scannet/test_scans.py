"""ScanNet as it is downloaded: scans of known geometry, written on the spot, to scenes and rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from verl_vsi.data_adapters.rows import read_rows
from verl_vsi.data_adapters.scannet.scan_files import label_map, read_labels
from verl_vsi.data_adapters.scannet.scans import read_scan, read_scans, scan_folders
from verl_vsi.data_adapters.scannet.shapes import floor_area, minimal_box
from verl_vsi.data_adapters.schema import Rejected, Scene, sort_out
from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows

TURN = np.radians(30)  # what axis alignment has to undo


def _turned(angle: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def _floor(width: float, depth: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(0, width + 0.01, 0.05), np.arange(0, depth + 0.01, 0.05))
    return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)


def _solid(size: tuple[float, float, float], at: tuple[float, float, float], angle: float = 0.0) -> np.ndarray:
    box = trimesh.creation.box(size).subdivide().subdivide()
    return trimesh.transform_points(np.asarray(box.vertices), _turned(angle)) + at


FURNITURE = {
    "bookshelf": _solid((1.2, 0.4, 2.0), (1.0, 3.0, 1.0), angle=0.5),
    "office chair": _solid((0.5, 0.5, 0.9), (4.0, 1.0, 0.45)),
    "desk": _solid((1.6, 0.8, 0.7), (4.0, 3.0, 0.35)),
}
LABELS = "id\traw_category\tcategory\tnyu40class\n1\tbookshelf\tshelf\tbookshelf\n2\toffice chair\tchair\tchair\n"


@pytest.fixture
def scannet(tmp_path: Path) -> Path:
    """A download of one scan: a floor of 6 m x 4 m, a wall, and three pieces of furniture, turned by 30 degrees."""
    root = tmp_path / "scannet"
    _write_scan(root / "scans" / "scene0000_00")
    (root / "scannetv2-labels.combined.tsv").write_text(LABELS)
    return root


def _write_scan(folder: Path) -> None:
    folder.mkdir(parents=True)
    parts = {"floor": _floor(6, 4), **FURNITURE}
    points = trimesh.transform_points(np.concatenate(list(parts.values())), _turned(-TURN))
    segments = np.repeat(np.arange(len(parts)) * 10, [len(p) for p in parts.values()])
    groups = [{"objectId": i, "label": label, "segments": [i * 10]} for i, label in enumerate(parts)]
    name = folder.name
    trimesh.PointCloud(points).export(folder / f"{name}_vh_clean_2.ply")
    (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": segments.tolist()}))
    (folder / f"{name}.aggregation.json").write_text(json.dumps({"segGroups": groups}))
    alignment = " ".join(str(v) for v in _turned(TURN).ravel())
    (folder / f"{name}.txt").write_text(f"axisAlignment = {alignment}\ncolorHeight = 968\n")


def _scan(root: Path) -> Scene:
    scene = read_scan(root / "scans" / "scene0000_00", read_labels(label_map(root)))
    assert isinstance(scene, Scene), scene
    return scene


def test_a_scan_s_numbers_are_those_of_its_known_geometry(scannet: Path):
    scene = _scan(scannet)
    assert (scene.id, scene.dataset, scene.video) == ("scene0000_00", "scannet", "scannet/scene0000_00.mp4")
    assert dict(scene.counts) == {"shelf": 1, "chair": 1, "desk": 1}  # the floor is no object; desk is in no label map
    assert scene.room_size == pytest.approx(24, rel=0.02)
    boxes = {b.category: b for b in scene.boxes}
    assert sorted(boxes["shelf"].extents) == pytest.approx([0.4, 1.2, 2.0], abs=1e-3)
    assert np.allclose(boxes["shelf"].centroid, (1.0, 3.0, 1.0), atol=1e-3)
    assert np.allclose(boxes["chair"].point, (4.0, 1.0, 0.45), atol=1e-3)
    assert boxes["desk"].corners.min(0) == pytest.approx((3.2, 2.6, 0.0), abs=1e-3)  # the alignment is undone
    assert boxes["desk"].corners.max(0) == pytest.approx((4.8, 3.4, 0.7), abs=1e-3)


def test_a_scan_goes_through_to_rows(scannet: Path, tmp_path: Path):
    scenes = read_scans(scan_folders(scannet), label_map(scannet), tmp_path / "a.scenes.jsonl", workers=1, quiet=True)
    build_rows(tmp_path / "a.parquet", scenes, BuildPlan(), "scannet")
    answers = {
        r["extra_info"]["question"]: r["reward_model"]["ground_truth"] for r in read_rows(tmp_path / "a.parquet")
    }
    distances = {q: a for q, a in answers.items() if "distance between" in q and "chair" in q and "desk" in q}
    assert list(distances.values()) == ["2.0"]  # hypot(2.0, 0.1) = 2.002
    sizes = {q: a for q, a in answers.items() if "longest dimension" in q}
    assert sorted(sizes.values()) == ["160", "200", "90"]
    assert answers["What is the size of this room (in square meters)?"] in {"23.9", "24.0", "23.8", "24.1"}


def test_a_box_s_centre_of_points_is_kept_beside_its_own(scannet: Path):
    chair = next(b for b in _scan(scannet).boxes if b.category == "chair")
    assert chair.center is not None
    assert np.allclose(chair.center, chair.centroid, atol=1e-3)


@pytest.mark.parametrize(
    ("end", "content", "reason", "detail"),
    [
        ("_vh_clean_2.ply", None, "missing files", "scene0000_00_vh_clean_2.ply; fetch with download-scannet.py"),
        (".aggregation.json", None, "missing files", "scene0000_00.aggregation.json"),
        (".aggregation.json", "{}", "broken scan", "segGroups"),
        (".aggregation.json", "{", "broken scan", "JSONDecodeError"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, 2]}', "broken scan", "2 segment indices for"),
        (".txt", "axisAlignment = 1 0 0", "broken scan", "reshape"),
        ("_vh_clean_2.ply", "ply\nnonsense", "broken scan", ""),
    ],
)
def test_an_incomplete_or_broken_scan_is_rejected_by_name(scannet: Path, end: str, content, reason: str, detail: str):
    file = scannet / "scans" / "scene0000_00" / f"scene0000_00{end}"
    file.unlink() if content is None else file.write_text(content)
    rejected = read_scan(file.parent, read_labels(label_map(scannet)))
    assert isinstance(rejected, Rejected)
    assert (rejected.where, rejected.reason) == ("scene0000_00", reason)
    assert detail in rejected.detail


def test_missing_labels_and_scans_say_where_they_come_from(scannet: Path):
    with pytest.raises(FileNotFoundError, match=r"download-scannet\.py --label_map"):
        read_labels(scannet / "none.tsv")
    (scannet / "other.tsv").write_text("a\tb\n")
    with pytest.raises(ValueError, match="columns raw_category and category are wanted, found a, b"):
        read_labels(scannet / "other.tsv")
    with pytest.raises(FileNotFoundError, match="no folder like scene0000_00"):
        scan_folders(scannet / "scans" / "scene0000_00")


def test_a_second_reading_takes_kept_scans_and_rereads_changed_ones(scannet: Path, tmp_path: Path, monkeypatch):
    _write_scan(scannet / "scans" / "scene0001_00")
    read: list[str] = []
    monkeypatch.setattr(
        "verl_vsi.data_adapters.scannet.scans.read_scan",
        lambda folder, labels: (read.append(folder.name), read_scan(folder, labels))[1],
    )

    def scenes():
        items = read_scans(
            scan_folders(scannet), label_map(scannet), tmp_path / "k.scenes.jsonl", workers=1, quiet=True
        )
        return [s.id for s in sort_out(items)[0]]

    assert scenes() == scenes() == ["scene0000_00", "scene0001_00"]
    assert read == ["scene0000_00", "scene0001_00"]
    (scannet / "scans" / "scene0001_00" / "scene0001_00.txt").write_text("a = 1")  # no alignment line: the identity
    assert scenes() == ["scene0000_00", "scene0001_00"]
    assert read[2:] == ["scene0001_00"]
    labels = label_map(scannet)
    labels.write_text(labels.read_text() + "another\tlamp\n")
    assert scenes() == ["scene0000_00", "scene0001_00"]
    assert read[3:] == ["scene0000_00", "scene0001_00"]  # another label map may name everything anew


def test_another_label_map_reads_the_scans_again(scannet: Path, tmp_path: Path):
    def categories():
        scenes = read_scans(
            scan_folders(scannet), label_map(scannet), tmp_path / "k.scenes.jsonl", workers=1, quiet=True
        )
        return {c for scene in scenes if isinstance(scene, Scene) for c in scene.counts}

    assert categories() == {"shelf", "chair", "desk"}
    label_map(scannet).write_text(LABELS.replace("\tshelf\t", "\tcupboard\t"))
    assert categories() == {"cupboard", "chair", "desk"}


def test_a_file_larger_than_any_scan_s_is_not_read(scannet: Path, monkeypatch):
    monkeypatch.setattr("verl_vsi.data_adapters.scannet.scan_files.LARGEST_FILE", 10)
    rejected = read_scan(scannet / "scans" / "scene0000_00", read_labels(label_map(scannet)))
    assert isinstance(rejected, Rejected)
    assert "bytes, more than the 10 that a scan's file has" in rejected.detail


def test_more_scans_than_workers_give_one_worker_s_very_scenes(scannet: Path, tmp_path: Path):
    for i in range(1, 6):
        _write_scan(scannet / "scans" / f"scene000{i}_00")
    (scannet / "scans" / "scene0003_00" / "scene0003_00.txt").write_text("axisAlignment = nonsense")
    kept = {}
    for workers in (1, 3):
        file = tmp_path / f"{workers}.scenes.jsonl"
        items = list(read_scans(scan_folders(scannet), label_map(scannet), file, workers=workers, quiet=True))
        kept[workers] = (file.read_bytes(), [i for i in items if isinstance(i, Rejected)])
    assert kept[1] == kept[3]
    assert len(kept[3][0].splitlines()) == 5


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
def test_the_minimal_box_finds_a_turned_box(angle: float):
    centroid, extents, axes = minimal_box(_solid((2.0, 1.0, 0.5), (3.0, -1.0, 2.0), angle))
    assert sorted(extents) == pytest.approx([0.5, 1.0, 2.0], abs=1e-3)
    assert np.allclose(centroid, (3.0, -1.0, 2.0), atol=1e-3)
    long = axes[np.argmax(extents)]
    assert abs(long @ [np.cos(angle), np.sin(angle), 0]) == pytest.approx(1, abs=1e-3)
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-6)


def test_a_flat_picture_gets_a_thin_box():
    flat = np.stack([*np.meshgrid(np.linspace(0, 2, 20), np.linspace(0, 1, 20)), np.full((20, 20), 1.5)], -1)
    centroid, extents, _ = minimal_box(flat.reshape(-1, 3))
    assert sorted(extents) == pytest.approx([0.001, 1.0, 2.0], abs=1e-6)
    assert np.allclose(centroid, (1.0, 0.5, 1.5))


def test_floor_area_follows_the_outline_and_fills_holes():
    points = _floor(6, 4)
    corner = (points[:, 0] > 3) & (points[:, 1] > 2)
    assert floor_area(points[~corner]) == pytest.approx(24 - 6, rel=0.02)  # an L is not its hull
    hole = (abs(points[:, 0] - 3) < 0.5) & (abs(points[:, 1] - 2) < 0.5)
    assert floor_area(points[~hole]) == pytest.approx(24, rel=0.02)  # under a table nothing was scanned
    with pytest.raises(ValueError, match="span no area"):
        floor_area(np.zeros((5, 3)))
