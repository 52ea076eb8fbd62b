"""ScanNet's colour pictures, from streams and folders written on the spot, to videos and folders of frames."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from verl_vsi.data_adapters.scannet.sens import color_frames, keep
from verl_vsi.data_adapters.scannet.videos import scan_videos, to_folder, to_mp4


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
    numbers = [i for i in range(300) if keep(i, rate)]
    assert len(numbers) == 10 * rate
    assert numbers[0] == 0
    assert max(np.diff(numbers)) <= np.ceil(30 / rate)


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


def test_more_streams_than_workers_give_one_worker_s_very_videos(tmp_path: Path):
    for i in range(5):
        folder = tmp_path / "scans" / f"scene000{i}_00"
        folder.mkdir(parents=True)
        _write_sens(folder / f"{folder.name}.sens", [_jpeg(8 * i + j) for j in range(3)])
    made = {}
    for workers in (1, 3):
        root = tmp_path / str(workers)
        made[workers] = [v.state for v in scan_videos(tmp_path, root, rate=30, workers=workers)]
        made[workers] += [p.read_bytes() for p in sorted(root.rglob("*.mp4"))]
    assert made[1] == made[3]
    assert made[1][:5] == ["made"] * 5


def test_an_empty_folder_has_no_pictures(tmp_path: Path):
    (tmp_path / "color").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        to_mp4(tmp_path / "color", tmp_path / "a.mp4")
