"""ScanNet as it is downloaded: scans of known geometry, written on the spot, to scenes, rows and videos."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import trimesh

from verl_vsi.data_adapters.rows import read_rows
from verl_vsi.data_adapters.scannet.scans import label_map, read_labels, read_scan, read_scans, scan_folders
from verl_vsi.data_adapters.scannet.sens import color_frames, keep
from verl_vsi.data_adapters.scannet.shapes import floor_area, minimal_box
from verl_vsi.data_adapters.scannet.videos import to_folder, to_mp4
from verl_vsi.data_adapters.schema import Rejected, Scene, sort_out
from verl_vsi.data_adapters.vsi100k import BuildPlan, build

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
    build(tmp_path / "a.parquet", scenes, BuildPlan(), "scannet")
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
    found = read_scan(file.parent, read_labels(label_map(scannet)))
    assert isinstance(found, Rejected)
    assert (found.where, found.reason) == ("scene0000_00", reason)
    assert detail in found.detail


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
        found = read_scans(
            scan_folders(scannet), label_map(scannet), tmp_path / "k.scenes.jsonl", workers=1, quiet=True
        )
        return [s.id for s in sort_out(found)[0]]

    assert scenes() == scenes() == ["scene0000_00", "scene0001_00"]
    assert read == ["scene0000_00", "scene0001_00"]
    (scannet / "scans" / "scene0001_00" / "scene0001_00.txt").write_text("")  # no alignment line: the identity
    assert scenes() == ["scene0000_00", "scene0001_00"]
    assert read[2:] == ["scene0001_00"]


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


def _jpeg(shade: int, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), shade, np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    return buffer.getvalue()


def _write_sens(path: Path, frames: list[bytes], version: int = 4, claimed: int | None = None) -> Path:
    """The format of ScanNet's SensReader, with 10 bytes of depth a frame."""
    name = b"StructureSensor"
    header = struct.pack("<IQ", version, len(name)) + name + bytes(4 * 64)
    header += struct.pack("<iiIIIIfQ", 2, 1, 64, 48, 640, 480, 1000.0, len(frames) if claimed is None else claimed)
    body = (bytes(64) + struct.pack("<QQQQ", 0, 0, len(f), 10) + f + bytes(10) for f in frames)
    path.write_bytes(header + b"".join(body))
    return path


def _shades(video: Path) -> list[float]:
    with av.open(str(video)) as container:
        return [float(f.to_ndarray(format="rgb24").mean()) for f in container.decode(video=0)]


def test_a_sens_stream_becomes_a_video_at_the_chosen_rate(tmp_path: Path):
    stream = _write_sens(tmp_path / "scene0000_00.sens", [_jpeg(8 * i) for i in range(30)])
    assert to_mp4(stream, tmp_path / "a.mp4", rate=10, size=(32, 24)) == 10
    assert _shades(tmp_path / "a.mp4") == pytest.approx([24 * i for i in range(10)], abs=4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].average_rate) == (32, 10)


def test_a_sens_stream_becomes_a_folder_of_its_own_pictures(tmp_path: Path):
    pictures = [_jpeg(8 * i) for i in range(6)]
    stream = _write_sens(tmp_path / "a.sens", pictures)
    assert to_folder(stream, tmp_path / "frames", rate=15) == 3
    assert [p.name for p in sorted((tmp_path / "frames").glob("*.jpg"))] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert (tmp_path / "frames" / "frames.json").read_text() == '{"fps": 15}'  # the frame store reads the rate there
    assert (tmp_path / "frames" / "000001.jpg").read_bytes() == pictures[2]
    with pytest.raises(FileExistsError, match="is there already"):
        to_folder(stream, tmp_path / "frames")


def test_a_folder_of_colour_frames_is_read_in_the_order_of_its_numbers(tmp_path: Path):
    (tmp_path / "color").mkdir()
    for i in range(12):
        (tmp_path / "color" / f"{i}.jpg").write_bytes(_jpeg(20 * i))
    assert to_mp4(tmp_path / "color", tmp_path / "a.mp4", rate=30, size=(32, 24)) == 12
    assert _shades(tmp_path / "a.mp4") == pytest.approx([20 * i for i in range(12)], abs=4)


@pytest.mark.parametrize("rate", [24.0, 10.0, 7.5, 1.0])
def test_a_rate_keeps_as_many_frames_as_it_says(rate: float):
    kept = [i for i in range(300) if keep(i, rate)]
    assert len(kept) == 10 * rate
    assert kept[0] == 0
    assert max(np.diff(kept)) <= np.ceil(30 / rate)


def test_reading_holds_one_frame_at_a_time(tmp_path: Path):
    stream = _write_sens(tmp_path / "a.sens", [bytes(2**20)] * 20)
    tracemalloc.start()
    assert sum(len(frame) for frame in color_frames(stream)) == 20 * 2**20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


@pytest.mark.parametrize("write", [to_mp4, to_folder])
def test_a_damaged_stream_is_named_and_leaves_nothing(tmp_path: Path, write):
    whole = _write_sens(tmp_path / "whole.sens", [_jpeg(8 * i) for i in range(5)]).read_bytes()
    cases = {
        "cut.sens": (whole[: len(whole) // 2], r"cut\.sens: cut short at frame \d of 5"),
        "head.sens": (whole[:40], "cut short at header"),
        "other.sens": (b"\x01" * 400, "not a .sens stream of version 4"),
        "none.sens": (_write_sens(tmp_path / "n", []).read_bytes(), "no frame in it"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            write(tmp_path / name, tmp_path / "out" / "result")
        assert list((tmp_path / "out").iterdir()) == []


def test_a_picture_that_is_none_is_named_with_its_frame(tmp_path: Path):
    stream = _write_sens(tmp_path / "a.sens", [_jpeg(0), b"not a picture", _jpeg(9)])
    with pytest.raises(ValueError, match=r"a\.sens, frame 1: not a readable picture"):
        to_mp4(stream, tmp_path / "a.mp4", rate=30)


def test_an_impossible_size_is_damage_not_memory(tmp_path: Path):
    content = bytearray(_write_sens(tmp_path / "a.sens", [_jpeg(0)]).read_bytes())
    start = len(content) - 10 - len(_jpeg(0)) - 16
    content[start : start + 8] = struct.pack("<Q", 2**40)
    (tmp_path / "a.sens").write_bytes(content)
    with pytest.raises(ValueError, match="claims 1099511627776 bytes; the file is damaged"):
        list(color_frames(tmp_path / "a.sens"))


def test_an_empty_folder_has_no_pictures(tmp_path: Path):
    (tmp_path / "color").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        to_mp4(tmp_path / "color", tmp_path / "a.mp4")
