"""What the frames of a small stream show, with an occluder, by hand; the stream is written from SensReader's format.

The camera looks along z from the scan's origin. A chair, 1 m wide, stands 3 m ahead before a wall at 5 m. The depth
camera has 160 x 120 pixels and a focal length of 100, so that the chair's front, at 2.5 m, covers columns 60 to 100 and
rows 40 to 80; of each second row and column 4,800 pixels are looked at, of which an object must cover 5.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.scannet.depth import visibility, with_visibility
from verl_vsi.data_adapters.schema import Box, Rejected, Scene

WIDTH, HEIGHT, FOCAL = 160, 120, 100.0
CHAIR = Box("chair", np.array([0.0, 0.0, 3.0]), np.ones(3), np.eye(3))
BEHIND = Box("bed", np.array([0.0, 0.0, -3.0]), np.ones(3), np.eye(3))
AHEAD, TURNED, LOST = np.eye(4), np.diag([-1.0, 1.0, -1.0, 1.0]), np.full((4, 4), -np.inf)

Depth = NDArray[np.uint16]


def room(front: float = 2.5, columns: slice = slice(60, 100), rows: slice = slice(40, 80)) -> Depth:
    """Millimetres: the wall, and something before it."""
    depth = np.full((HEIGHT, WIDTH), 5000, np.uint16)
    depth[rows, columns] = round(1000 * front)
    return depth


def write_sens(path: Path, frames: list[tuple[np.ndarray, Depth]], packing: int = 1) -> Path:
    """Version 4: intrinsics and extrinsics of both cameras, sizes, then a pose and two pictures a frame."""
    k = np.array([[FOCAL, 0, WIDTH / 2, 0], [0, FOCAL, HEIGHT / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "<f4")
    head = struct.pack("<IQ", 4, 1) + b"s" + b"".join(m.astype("<f4").tobytes() for m in (k, np.eye(4), k, np.eye(4)))
    head += struct.pack("<iiIIIIfQ", 2, packing, 64, 48, WIDTH, HEIGHT, 1000.0, len(frames))
    body = b""
    for pose, depth in frames:
        picture = zlib.compress(depth.tobytes()) if packing == 1 else depth.tobytes()
        body += pose.astype("<f4").tobytes() + struct.pack("<QQQQ", 0, 0, 3, len(picture)) + b"jpg" + picture
    path.write_bytes(head + body)
    return path


def occluded(columns: slice, rows: slice) -> Depth:
    """The chair behind a board at 1 m that leaves a hole."""
    depth = np.full((HEIGHT, WIDTH), 1000, np.uint16)
    depth[rows, columns] = room()[rows, columns]
    return depth


CASES = [
    ("in full view", AHEAD, room(), {"chair"}),
    ("behind a board", AHEAD, occluded(slice(0, 0), slice(0, 0)), set()),
    ("a hole of 2 x 2 looked-at pixels", AHEAD, occluded(slice(70, 74), slice(50, 54)), set()),
    ("a hole of 2 x 3 looked-at pixels", AHEAD, occluded(slice(70, 76), slice(50, 54)), {"chair"}),
    ("something nearer in the same direction", AHEAD, room(front=1.5), set()),
    ("turned round: the bed, where the chair was", TURNED, room(), {"bed"}),
    ("no pose", LOST, room(), set()),
    ("no depth", AHEAD, np.zeros((HEIGHT, WIDTH), np.uint16), set()),
]


@pytest.mark.parametrize("packing", [0, 1], ids=["raw", "zlib"])
def test_frames_show_what_they_show_by_hand(tmp_path: Path, packing: int) -> None:
    stream = write_sens(tmp_path / "a.sens", [(pose, depth) for _, pose, depth, _ in CASES], packing)
    found = visibility(stream, [CHAIR, BEHIND], np.eye(4), range(len(CASES)), rate=30)
    for number, (name, _, _, seen) in enumerate(CASES):
        flags = found.seen([number])
        assert {n for n, flag in zip(("chair", "bed"), flags, strict=True) if flag} == seen, name
    assert found.frames == len(CASES)


def test_boxes_are_in_the_aligned_frame(tmp_path: Path) -> None:
    turn = np.array([[0.0, 0, 1, 10], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # ahead is x, and x moves by 10 m
    stream = write_sens(tmp_path / "a.sens", [(AHEAD, room())])
    moved = Box("chair", np.array([13.0, 0.0, 0.0]), np.ones(3), np.eye(3))
    assert visibility(stream, [moved], turn, [0], rate=30).seen([0]).all()
    assert not visibility(stream, [CHAIR], turn, [0], rate=30).seen([0]).any()


def test_numbers_are_the_videos_which_leaves_every_fifth_frame_of_the_stream_out(tmp_path: Path) -> None:
    board = occluded(slice(0, 0), slice(0, 0))
    stream = write_sens(tmp_path / "a.sens", [(AHEAD, room() if number == 6 else board) for number in range(10)])
    found = visibility(stream, [CHAIR], np.eye(4), range(8), rate=24)  # kept: 0, 2, 3, 4, 5, 7, 8, 9
    assert (found.frames, found.seen(range(8)).any()) == (8, False)
    found = visibility(stream, [CHAIR], np.eye(4), range(10), rate=30)
    assert found.shown == (frozenset({6}),)


DAMAGED = [
    (lambda b: b[:-10], "cut short at frame 1"),
    (lambda b: b[:-10] + b"\xff" * 10, "depth of frame 1"),
    (lambda b: b.replace(struct.pack("<ii", 2, 1), struct.pack("<ii", 2, 2), 1), "packed as occipital"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGED, ids=[m for _, m in DAMAGED])
def test_a_damaged_stream_is_named(tmp_path: Path, damage, message: str) -> None:
    stream = write_sens(tmp_path / "a.sens", [(AHEAD, room())] * 2)
    stream.write_bytes(damage(stream.read_bytes()))
    with pytest.raises(ValueError, match=message):
        visibility(stream, [CHAIR], np.eye(4), [0, 1], rate=30)


def test_depth_that_unpacks_to_more_than_a_picture_is_refused(tmp_path: Path) -> None:
    bomb = np.zeros((HEIGHT * 4000, WIDTH), np.uint16)
    stream = write_sens(tmp_path / "a.sens", [(AHEAD, bomb)])
    with pytest.raises(ValueError, match="38401 bytes, where 38400 belong"):
        visibility(stream, [CHAIR], np.eye(4), [0], rate=30)


def test_a_build_reads_each_stream_once_and_names_those_that_it_cannot(tmp_path: Path) -> None:
    scenes = []
    for name in ("scene0000_00", "scene0001_00"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        (tmp_path / "scans" / name / f"{name}.txt").write_text("numDepthFrames = 9")
        scenes.append(Scene(name, "scannet", f"scannet/{name}.mp4", 9.0, (CHAIR,), {"chair": 1}))
    stream = write_sens(tmp_path / "scans" / "scene0000_00" / "scene0000_00.sens", [(AHEAD, room())] * 20)
    choices, log = [FrameSpec("linspace", 8)], tmp_path / "rows.visible.jsonl"
    seen, missing = with_visibility(scenes, tmp_path, choices, log, workers=1)
    assert isinstance(seen, Scene)
    assert seen.visible is not None
    assert seen.visible.frames == 16
    assert seen.visible.seen(range(1)).all()
    assert isinstance(missing, Rejected)
    assert "--id scene0001_00 --type .sens" in missing.detail
    stream.unlink()
    again, _ = with_visibility(scenes, tmp_path, choices, log, workers=1)
    assert isinstance(again, Scene)
    assert again.visible == seen.visible
