"""Zips, scans and streams made to hurt: each gives what it holds, or an error that names it, and leaves nothing behind.

    pytest -m "slow or not slow" tests/hostile/test_archives.py

Written from the formats' descriptions (zip's by byte, ScanNet's ply, segs, aggregation and sens), not by code of ours.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from verl_vsi.data_adapters.scannet.scan_files import read_labels
from verl_vsi.data_adapters.scannet.scans import read_scans
from verl_vsi.data_adapters.scannet.videos import ScanVideo, scan_videos
from verl_vsi.data_adapters.schema import Rejected, Scene
from verl_vsi.data_adapters.vsibench_download import extract_videos

SECONDS, MEMORY = 20, 500 << 10
"""What one case may take: seconds, and KiB of growth."""


@contextmanager
def bounded() -> Iterator[None]:
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


# --- zips ---

GOOD = {"scannet/a.mp4": b"first" * 99, "scannet/b.mp4": b"second" * 99}


def zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return bytearray(buffer.getvalue())


def good(method: int = zipfile.ZIP_STORED) -> bytearray:
    return zipped(list(GOOD.items()), method)


def central(data: bytearray, offset: int, form: str, *values: int) -> bytearray:
    """Write into the first record of the central directory."""
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + offset, *values)
    return data


def both(data: bytearray, local: int, record: int, form: str, value: int) -> bytearray:
    """Write into the first member's own header and its record."""
    struct.pack_into(form, data, data.index(b"PK\x03\x04") + local, value)
    return central(data, record, form, value)


def garbled(method: int) -> bytearray:
    data = good(method)
    data[50:60] = b"\xff" * 10
    return data


def overlapping() -> bytearray:
    """A thousand records of one and the same megabyte."""
    data = zipped([("scannet/0.mp4", os.urandom(1 << 20))])
    start = data.index(b"PK\x01\x02")
    record, tail = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    records = b"".join(bytes(record).replace(b"scannet/0.mp4", f"sc{i:05}/0.mp4".encode()) for i in range(1000))
    struct.pack_into("<HHII", tail, 8, 1000, 1000, len(records), start)
    return data[:start] + records + tail


def linked() -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("scannet/a.mp4")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    return bytearray(buffer.getvalue())


ZIPS: dict[str, tuple[Callable[[], bytes | bytearray], str | None]] = {
    "healthy": (good, None),
    "healthy, deflated": (lambda: good(zipfile.ZIP_DEFLATED), None),
    "healthy, bzip2": (lambda: good(zipfile.ZIP_BZIP2), None),
    "healthy, a program in front": (lambda: b"#!/bin/sh\n" + good(), None),
    "healthy, a Mac's additions": (lambda: zipped([*GOOD.items(), ("__MACOSX/scannet/._a.mp4", b"x")]), None),
    "empty file": (lambda: b"", "not a whole zip"),
    "no members": (lambda: zipped([]), r"holds no \.mp4"),
    "no videos": (lambda: zipped([("readme.txt", b"hi")]), r"holds no \.mp4"),
    "no zip": (lambda: b"<html>404</html>", "not a whole zip"),
    "cut in the middle": (lambda: good()[:200], "not a whole zip"),
    "cut before its end": (lambda: good()[:-10], "not a whole zip"),
    "a gigabyte of zeros": (
        lambda: zipped([("scannet/a.mp4", bytes(1 << 28))], zipfile.ZIP_DEFLATED),
        "to 268435456 bytes",
    ),
    "a thousand that overlap": (overlapping, "would unpack|not a whole zip"),
    "16 exabytes announced": (lambda: central(good(), 24, "<I", 0xFFFFFFF0), "would unpack|not a whole"),
    "encrypted": (lambda: both(good(), 6, 8, "<H", 1), "is encrypted"),
    "a method that nobody knows": (lambda: both(good(), 8, 10, "<H", 77), "not a whole zip"),
    "garbled stored": (lambda: garbled(zipfile.ZIP_STORED), "not a whole zip"),
    "garbled deflate": (lambda: garbled(zipfile.ZIP_DEFLATED), "not a whole zip"),
    "garbled bzip2": (lambda: garbled(zipfile.ZIP_BZIP2), "not a whole zip"),
    "garbled lzma": (lambda: garbled(zipfile.ZIP_LZMA), "not a whole zip"),
    "a wrong checksum": (lambda: central(good(), 16, "<I", 1), "not a whole zip"),
    "a record that points nowhere": (lambda: central(good(), 42, "<I", 10**9), "not a whole zip"),
    "another name inside": (lambda: good().replace(b"scannet/a.mp4", b"scannet/c.mp4", 1), "not a whole zip"),
    "the same place twice": (
        lambda: zipped([("scannet/a.mp4", b"1"), ("x/scannet/a.mp4", b"2")]),
        "are both scannet/a",
    ),
    "climbs": (lambda: zipped([("../../a.mp4", b"x")]), "would leave the data root"),
    "climbs by backslashes": (lambda: zipped([("..\\..\\a.mp4", b"x")]), "would leave the data root"),
    "absolute": (lambda: zipped([("/etc/a.mp4", b"x")]), "would leave the data root"),
    "a link": (linked, "would leave the data root"),
    "a name of 300 bytes": (lambda: zipped([("scannet/" + "n" * 300 + ".mp4", b"x")]), "."),
    "escapes in a name": (lambda: zipped([("scannet/\x1b[2J.mp4", b"x"), ("scannet/\x1b[2J.mp4", b"y")]), "are both"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ZIPS)
def test_a_hostile_zip_is_named_or_gives_its_videos(tmp_path: Path, kind: str) -> None:
    make, message = ZIPS[kind]
    (tmp_path / "scannet.zip").write_bytes(make())
    root = tmp_path / "root"
    (root / "scannet").mkdir(parents=True)
    (root / "scannet" / "before.mp4").write_bytes(b"was here")
    with bounded():
        if message is None:
            assert dict(extract_videos(tmp_path / "scannet.zip", root)) == dict.fromkeys(GOOD, True)
        else:
            with pytest.raises((ValueError, OSError), match=message) as caught:
                list(extract_videos(tmp_path / "scannet.zip", root))
            assert "scannet.zip" in str(caught.value) or kind == "a name of 300 bytes"
            assert "\x1b" not in str(caught.value)
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert files.pop("scannet/before.mp4") == b"was here"
    assert files.items() <= GOOD.items()
    assert {p.name for p in tmp_path.iterdir()} == {"scannet.zip", "root"}


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "nothing"])
def test_what_is_no_file_is_no_zip(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "scannet.zip"
    {"a pipe": lambda: os.mkfifo(archive), "a folder": archive.mkdir, "nothing": lambda: None}[kind]()
    with pytest.raises(FileNotFoundError, match=r"scannet\.zip: no such file; download"):
        list(extract_videos(archive, tmp_path / "root"))


def test_a_zip_that_does_not_fit_on_the_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scannet.zip").write_bytes(good())
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=900))
    with pytest.raises(OSError, match="1089 bytes of videos are to be unpacked, 900 are free"):
        list(extract_videos(tmp_path / "scannet.zip", tmp_path / "root"))
    assert list((tmp_path / "root").rglob("*")) == []


# --- scans ---


def ply(points: np.ndarray, form: str = "binary_little_endian", count: int | None = None, extra: str = "") -> bytes:
    header = f"ply\nformat {form} 1.0\n{extra}element vertex {len(points) if count is None else count}\n"
    header += "property float x\nproperty float y\nproperty float z\nend_header\n"
    body = (
        "\n".join(" ".join(map(str, p)) for p in points).encode() if form == "ascii" else points.astype("<f4").tobytes()
    )
    return header.encode() + body


def room() -> tuple[np.ndarray, list[int]]:
    x, y = np.meshgrid(np.arange(0, 4, 0.1), np.arange(0, 3, 0.1))
    floor = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
    chair = np.random.default_rng(0).random((60, 3)) + 1
    return np.concatenate([floor, chair]), [0] * len(floor) + [1] * 60


POINTS, SEGMENTS = room()
GROUPS = [{"objectId": 0, "label": "floor", "segments": [0]}, {"objectId": 1, "label": "chair", "segments": [1]}]


def scan(folder: Path) -> Path:
    folder.mkdir(parents=True)
    name = folder.name
    (folder / f"{name}_vh_clean_2.ply").write_bytes(ply(POINTS))
    (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": SEGMENTS}))
    (folder / f"{name}.aggregation.json").write_text(json.dumps({"segGroups": GROUPS}))
    (folder / f"{name}.txt").write_text("axisAlignment = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n")
    return folder


MESH, SEGS, AGG, TXT = "_vh_clean_2.ply", "_vh_clean_2.0.010000.segs.json", ".aggregation.json", ".txt"


def turned(**changes: Any) -> str:
    return json.dumps({"segGroups": [GROUPS[0], GROUPS[1] | changes]})


SCANS: dict[str, tuple[str, str | bytes | None, str | None]] = {
    "healthy, ascii": (MESH, ply(POINTS, "ascii"), None),
    "healthy, a texture named": (MESH, ply(POINTS, extra="comment TextureFile ../../../../etc/passwd\n"), None),
    "healthy, a byte order mark": (AGG, "\ufeff" + json.dumps({"segGroups": GROUPS}), None),
    "no mesh": (MESH, None, r"_vh_clean_2\.ply; fetch"),
    "an empty mesh": (MESH, b"", r"ply \(empty\)"),
    "no ply": (MESH, b"solid nothing", ""),
    "half a mesh": (MESH, ply(POINTS)[: 12 * 700], ""),
    "half a head": (MESH, ply(POINTS)[:50], ""),
    "four billion vertices": (MESH, ply(POINTS, count=2**32), ""),
    "four billion vertices, ascii": (MESH, ply(POINTS, "ascii", count=2**32), None),  # as many are there as segments
    "minus one vertex": (MESH, ply(POINTS, count=-1), ""),
    "a format that nobody knows": (MESH, ply(POINTS, "middle_endian"), None),  # read as little endian, which it is
    "a type that nobody knows": (MESH, ply(POINTS).replace(b"float z", b"quark z"), ""),
    "no z": (MESH, ply(POINTS).replace(b"property float z\n", b""), ""),
    "no vertex": (MESH, ply(POINTS[:0]), ""),
    "one vertex": (MESH, ply(POINTS[:1]), ""),
    "not a number": (MESH, ply(np.where(POINTS == 0, np.nan, POINTS)), "finite"),
    "1e38 metres": (MESH, ply(POINTS * 1e38), ""),
    "words in ascii": (MESH, ply(POINTS, "ascii").replace(b"0.1", b"abc"), ""),
    "segments of another mesh": (SEGS, '{"segIndices": [1, 2]}', "2 segment indices for"),
    "segments in words": (SEGS, json.dumps({"segIndices": ["a"] * len(POINTS)}), "whole numbers"),
    "segments in parts": (SEGS, json.dumps({"segIndices": [0.5] * len(POINTS)}), "whole numbers"),
    "segments in lists": (SEGS, json.dumps({"segIndices": [[1]] * len(POINTS)}), "segment indices"),
    "segments 100,000 deep": (SEGS, "[" * 10**5, "RecursionError"),
    "a segment of 5,000 digits": (SEGS, '{"segIndices": [' + "9" * 5000 + "]}", ""),
    "segments in UTF-16": (SEGS, json.dumps({"segIndices": SEGMENTS}).encode("utf-16"), "UnicodeDecodeError"),
    "no groups": (AGG, "{}", "segGroups"),
    "groups of null": (AGG, '{"segGroups": [null]}', ""),
    "a label of null": (AGG, turned(label=None), ""),
    "a label in a list": (AGG, turned(label=["chair"]), ""),
    "segments of null": (AGG, turned(segments=None), ""),
    "segments by name": (AGG, turned(segments=["1"]), "whole numbers"),
    "100,000 instances": (AGG, json.dumps({"segGroups": [GROUPS[1]] * 10**5}), "100000 instances, more than"),
    "a million times one segment": (AGG, turned(segments=[1] * 10**6), None),
    "a matrix of zeros": (TXT, "axisAlignment = " + "0 " * 16, "no rotation"),
    "a matrix that enlarges": (TXT, "axisAlignment = 2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1", "no rotation"),
    "a matrix of nan": (TXT, "axisAlignment = " + "nan " * 16, "no rotation"),
    "half a matrix": (TXT, "axisAlignment = 1 0 0", "reshape"),
    "a matrix in words": (TXT, "axisAlignment = " + "one " * 16, ""),
    "a text of bytes": (TXT, bytes(range(256)), ""),
}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_hostile_scan_is_left_out_with_its_cause_and_the_others_are_read(tmp_path: Path, workers: int) -> None:
    """All of them in one build, as in a download; a healthy scan before, between and after."""
    labels = tmp_path / "labels.tsv"
    labels.write_text("raw_category\tcategory\nchair\tchair\n")
    hostile = {f"scene{i:04}_01": case for i, case in enumerate(SCANS.values(), 1)}
    folders = [scan(tmp_path / f"scene{i:04}_00") for i in (0, 20, 99)]
    for name, (end, content, _) in hostile.items():
        file = scan(tmp_path / name) / f"{name}{end}"
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        folders.append(file.parent)
    folders.sort()
    with bounded():
        results = list(read_scans(folders, labels, tmp_path / "k.scenes.jsonl", workers=workers, quiet=True))
    (healthy,) = {repr((r.boxes, r.room_size)) for r in results if isinstance(r, Scene) and r.id.endswith("_00")}
    assert sum(isinstance(r, Scene) and r.id.endswith("_00") for r in results) == 3
    for folder, result in zip(folders, results, strict=True):
        if folder.name in hostile:
            _, _, message = hostile[folder.name]
            if message is None:
                assert isinstance(result, Scene), result
                assert [b.category for b in result.boxes] == ["chair"]
            else:
                assert isinstance(result, Rejected), (folder, hostile[folder.name][1])
                assert result.where == folder.name
                assert result.detail
                assert re.search(message, result.detail), result.detail
    assert healthy


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xff\xfer\x00a\x00w\x00", "not the label map"),  # UTF-16
        (b"raw_category\tcategory\nfauteuil \xe9\tchair\n", "not the label map"),  # Latin-1
        (b"raw_category\tcategory\n" + b"x" * 200_000 + b"\tchair\n", "not the label map"),  # a field without end
        (b"", "columns raw_category and category are wanted"),
        (b"<html>404</html>", "columns raw_category and category are wanted"),
    ],
)
def test_a_broken_label_map_is_named(tmp_path: Path, content: bytes, error: str) -> None:
    (tmp_path / "labels.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"labels\.tsv: {error}"):
        read_labels(tmp_path / "labels.tsv")


def test_a_label_map_of_other_hands_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_bytes("\ufeffraw_category\tcategory\r\nchair\tseat\r\nshelf\r\n".encode())
    assert read_labels(tmp_path / "labels.tsv") == {"chair": "seat", "shelf": ""}


# --- .sens streams ---

HEADER = ("version", "name length", "colour", "depth", "width", "height", "dwidth", "dheight", "shift", "frames")


def sens(pictures: list[bytes], **fields: Any) -> bytes:
    values = {"version": 4, "name length": 3, "colour": 2, "depth": 1, "frames": len(pictures)} | fields
    data = struct.pack("<IQ", values["version"], values["name length"]) + b"abc" + bytes(4 * 64)
    data += struct.pack("<iiIIIIfQ", values["colour"], values["depth"], 64, 48, 64, 48, 1000.0, values["frames"])
    for picture in pictures:
        data += bytes(64) + struct.pack("<QQ", 0, 0)
        data += struct.pack("<QQ", fields.get("color bytes", len(picture)), fields.get("depth bytes", 10))
        data += picture + bytes(10)
    return data


def jpeg(size: tuple[int, int] = (64, 48), format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 90, 90)).save(buffer, format=format)
    return buffer.getvalue()


PICTURE = jpeg()
FIELD_ENDS = (0, 3, 4, 11, 12, 15, 79, 143, 207, 271, 275, 279, 283, 287, 291, 295, 299, 307)
"""Bytes at which a field of the header ends: a cut before each."""

STREAMS: dict[str, tuple[bytes, str | None]] = {
    "healthy": (sens([PICTURE] * 3), None),
    "healthy, png": (sens([jpeg(format="PNG")] * 3, colour=1), None),
    **{f"cut at byte {end}": (sens([PICTURE] * 3)[:end], "cut short|failed") for end in FIELD_ENDS[1:]},
    "cut in a picture": (sens([PICTURE] * 3)[:-100], "cut short at frame 2 of 3"),
    "cut in the last depth": (sens([PICTURE] * 3)[:-5], "cut short at its last frame"),
    "version 3": (sens([PICTURE], version=3), "not a .sens stream of version 4"),
    "a name of 16 exabytes": (sens([PICTURE], **{"name length": 2**64 - 1}), "not a .sens stream"),
    "raw colours": (sens([PICTURE], colour=0), "neither png"),
    "colours of -1": (sens([PICTURE], colour=-1), "neither png"),
    "no frames": (sens([]), "no frame in it"),
    "16 exa frames": (sens([PICTURE], frames=2**64 - 1), "cut short at frame 1"),
    "a picture of 16 exabytes": (sens([PICTURE], **{"color bytes": 2**64 - 1}), "claims 18446744073709551615 bytes"),
    "a depth of 16 exabytes": (sens([PICTURE], **{"depth bytes": 2**64 - 1}), "claims 18446744073709551615 bytes"),
    "an empty picture": (sens([b""]), "frame 0: not a readable picture"),
    "half a picture": (sens([PICTURE, PICTURE[:200]]), "frame 1: (not a readable|a damaged) picture"),
    "a text for a picture": (sens([PICTURE, b"hello"]), "frame 1: not a readable picture"),
    "a picture of 100 megapixels": (sens([jpeg((10000, 10000), "PNG")]), "frame 0: not a readable picture of up to"),
    "an error page": (b"<html>404</html>" * 99, "not a .sens stream"),
}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_hostile_stream_is_named_and_the_others_become_videos(tmp_path: Path, workers: int) -> None:
    scans = {f"scene{i:04}_00": case for i, case in enumerate(STREAMS.values())}
    for name, (content, _) in scans.items():
        (tmp_path / "scans" / name).mkdir(parents=True)
        (tmp_path / "scans" / name / f"{name}.sens").write_bytes(content)
    (tmp_path / "scans" / "scene9999_00" / "scene9999_00.sens").parent.mkdir()
    os.mkfifo(tmp_path / "scans" / "scene9999_00" / "scene9999_00.sens")
    with bounded():
        results: list[ScanVideo] = list(scan_videos(tmp_path, tmp_path / "root", rate=30, workers=workers))
    for result, (kind, (_, message)) in zip(results, STREAMS.items(), strict=False):
        if message is None:
            assert result.state == "made", (kind, result.detail)
        else:
            assert result.state == "failed", kind
            assert result.scene in result.detail
            assert re.search(message, result.detail), result.detail
    assert results[-1].state == "failed"
    assert {p.name for p in (tmp_path / "root" / "scannet").iterdir()} == {"scene0000_00.mp4", "scene0001_00.mp4"}
