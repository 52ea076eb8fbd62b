"""Videos made to hurt, or by other hands: each gives right frames, or an error that names it; no other is touched.

    pytest -m slow tests/hostile/test_videos.py     # all kinds, and random damage; the normal suite runs a core

They are written from the formats' descriptions, by PyAV or byte by byte, not by code of ours.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, PngImagePlugin

from verl_vsi.data_adapters.frames import FrameSpec, FrameStore, VideoLimits
from verl_vsi.data_adapters.frames.build import VideoOutcome, build

SPEC = FrameSpec(sampler="linspace", nframes=4, min_pixels=784, max_pixels=12544)
LIMITS = VideoLimits(seconds=10, memory=1)
MOST_SECONDS = 2 * LIMITS.seconds + 5  # looked into, decoded, and a worker started anew
MOST_MEMORY = 300 << 10  # KiB that this process may grow by


def clip(path: Path, codec: str = "libx264", frames: int = 12, **settings: Any) -> bytes:
    """A bright corner, top left, on dark ground; `settings` of stream and container."""
    (width, height), options = settings.pop("size", (96, 64)), settings.pop("options", {})
    rotation, format, title = (settings.pop(k, None) for k in ("rotation", "format", "title"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format, options=options) as container:
        if title:
            container.metadata["title"] = title
        stream: Any = container.add_stream(codec, rate=settings.pop("rate", 8))
        stream.width, stream.height, stream.pix_fmt = width, height, settings.pop("pix_fmt", "yuv420p")
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner(width, height), format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def corner(width: int, height: int) -> np.ndarray:
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 2, : width // 2] = 220
    return picture


def noise(path: Path, codec: str, frames: int = 40) -> bytes:
    """Pictures that differ, so that there are bytes to damage."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(frames):
            picture = np.random.default_rng(i).integers(0, 256, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def edited(path: Path, data: bytes) -> None:
    path.write_bytes(data)


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


def without_frames(fragmented: bytes) -> bytes:
    return fragmented[: fragmented.index(b"moof") - 4]


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + name + body


def set_matrix(path: Path, *abcd: int) -> None:
    """Write a display matrix (16.16) into the track header: 36 bytes that end 8 before the header's end."""
    data = bytearray(clip(path))
    at = data.index(b"tkhd") - 4
    end = at + struct.unpack(">I", data[at : at + 4])[0]
    a, b, c, d = (value << 16 for value in abcd)
    data[end - 44 : end - 8] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    edited(path, bytes(data))


def flipped(path: Path, codec: str) -> None:
    data = bytearray(noise(path, codec))
    for at in random.Random(0).sample(range(data.index(b"mdat") + 2000, data.index(b"moov") - 8), 16):
        data[at] ^= 0xFF
    edited(path, bytes(data))


def patched(path: Path, old: bytes, offset: int, new: bytes) -> None:
    data = bytearray(clip(path))
    at = data.index(old) + offset
    data[at : at + len(new)] = new
    edited(path, bytes(data))


def two_streams(path: Path) -> None:
    """A small dark stream first, a large bright one second, both enabled: the second is what a player shows."""
    with av.open(str(path), "w", format="mp4") as container:
        streams: list[Any] = [container.add_stream("libx264", rate=8) for _ in range(2)]
        for stream, size in zip(streams, ((32, 32), (96, 64)), strict=True):
            (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for stream, (width, height), level in zip(streams, ((32, 32), (96, 64)), (0, 200), strict=True):
            for i in range(12):
                picture = np.random.default_rng(i).integers(level, level + 50, (height, width, 3)).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    second = data.index(b"tkhd", data.index(b"tkhd") + 4)
    data[second + 7] |= 1  # enabled, as phones write every track
    edited(path, bytes(data))


def announced(path: Path, width: int, height: int) -> None:
    """A motion-JPEG whose pictures announce another size than they have."""
    data = bytearray(clip(path, "mjpeg", pix_fmt="yuvj420p", format="avi"))
    at = -1
    while (at := data.find(b"\xff\xc0\x00\x11", at + 1)) >= 0:
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    edited(path, bytes(data))


def sound(path: Path, cover: bool = False) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        picture: Any = container.add_stream("mjpeg", rate=1) if cover else None
        if picture:
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode()])
        if picture:
            art = av.VideoFrame.from_ndarray(corner(32, 32), format="rgb24")
            container.mux([*picture.encode(art), *picture.encode()])


def neighbour(path: Path, text: str) -> None:
    """A playlist beside a video that it names."""
    clip(path.parent / ".other.mp4")
    path.write_text(text)


def pictures(path: Path, count: int = 4) -> Path:
    path.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(corner(96, 64)).save(path / f"{i}.png")
    return path


def png(path: Path, width: int, height: int) -> None:
    """A valid PNG header that announces a size, and a little data."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99))))
    chunks += ((b"IEND", b""),)
    coded = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))


def text_bomb(path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * (200 << 20), zip=True)
    Image.fromarray(corner(96, 64)).save(path, pnginfo=info)


def unreadable(path: Path) -> None:
    clip(path)
    path.chmod(0)


def two_sizes(path: Path) -> None:
    """An MPEG transport stream whose picture grows in the middle."""
    small = clip(path, format="mpegts", size=(96, 64))
    edited(path, small + clip(path, format="mpegts", size=(192, 128)))


def rate_file(path: Path, text: str) -> None:
    (pictures(path) / "frames.json").write_text(text)


Right = Callable[[np.ndarray], bool]


def bright(frames: np.ndarray, row: int, column: int) -> bool:
    """Whether the bright corner is the given one, and the opposite one is dark."""
    _, height, width, _ = frames.shape
    at = [
        (height // 4 + r * height // 2, width // 4 + c * width // 2) for r, c in ((row, column), (1 - row, 1 - column))
    ]
    levels = [frames[:, y, x].mean() for y, x in at]
    return bool(levels[0] > 180 and levels[1] < 70)


def whole(frames: np.ndarray) -> bool:
    return bright(frames, 0, 0) and frames.shape[2] > frames.shape[1]


@dataclass(frozen=True)
class Kind:
    """One file: how it is made, and what must come of it: frames that look so, or an error with these words."""

    make: Callable[[Path], Any]
    ends: Right | str
    core: bool = False
    name: str = ""


KINDS: dict[str, Kind] = {
    # cut short or damaged
    "empty": Kind(lambda p: p.touch(), "is empty", core=True),
    "an error page": Kind(lambda p: p.write_text("<html>404</html>"), "no readable video", core=True),
    "random bytes": Kind(lambda p: p.write_bytes(random.Random(1).randbytes(9999)), "no readable video"),
    "zeros": Kind(lambda p: p.write_bytes(bytes(1 << 20)), "no readable video"),
    "a head of 64 bytes": Kind(lambda p: edited(p, clip(p)[:64]), "no readable video"),
    "cut, index at the end": Kind(lambda p: edited(p, noise(p, "mpeg4")[:-900]), "cut short", core=True),
    "cut, index in front": Kind(
        lambda p: edited(p, clip(p, "mpeg4", 200, options={"movflags": "faststart"})[:-2000]), "cut short"
    ),
    "cut matroska": Kind(
        lambda p: edited(p, clip(p, frames=99, format="matroska")[:-2500]), "cut short|no readable|empty"
    ),
    "cut avi": Kind(lambda p: edited(p, noise(p.with_suffix(".avi"), "mpeg4")[:-20000]), "cut short|damaged"),
    "16 bytes flipped, h264": Kind(lambda p: flipped(p, "libx264"), "damaged|no readable", core=True),
    "16 bytes flipped, mpeg4": Kind(lambda p: flipped(p, "mpeg4"), "damaged|no readable"),
    "a packet of garbage": Kind(lambda p: patched(p, b"mdat", 700, b"\xff" * 99), "damaged|no readable"),
    "no frame": Kind(lambda p: edited(p, without_frames(clip(p, options=FRAGMENTS))), "empty|no readable|no frame"),
    "sizes of zero": Kind(lambda p: patched(p, b"stsz", 12, struct.pack(">I", 0)), "empty|cut|no readable|no frame"),
    "two billion frames": Kind(lambda p: patched(p, b"stsz", 12, struct.pack(">I", 2**31 - 1)), "."),
    "a box of 2**63 bytes": Kind(
        lambda p: edited(p, clip(p) + struct.pack(">I", 1) + b"free" + struct.pack(">Q", 2**63)), whole
    ),
    "a track box of 4 GB": Kind(lambda p: patched(p, b"trak", -4, b"\xff" * 4), "."),
    "boxes 10,000 deep": Kind(
        lambda p: edited(p, box(b"ftyp", b"isom", bytes(4)) + struct.pack(">I", 1 << 20) * 1 + b"moov" * 10_000), "."
    ),
    "100 GB, sparse": Kind(lambda p: (p.write_bytes(clip(p)[:40]), os.truncate(p, 100 << 30)), "."),
    # not videos
    "only sound": Kind(lambda p: sound(p), "no video stream, only audio", core=True),
    "sound with a cover": Kind(lambda p: sound(p, cover=True), "only a still picture, audio"),
    "a jpeg": Kind(lambda p: Image.new("RGB", (64, 64)).save(p, format="JPEG"), "no readable video"),
    "a gif": Kind(lambda p: Image.new("RGB", (64, 64)).save(p, format="GIF"), "no readable video"),
    "subtitles": Kind(lambda p: p.write_text("1\n00:00:00,000 --> 00:00:09,000\nhi\n"), "no readable video"),
    "a concat playlist": Kind(
        lambda p: neighbour(p, "ffconcat version 1.0\nfile .other.mp4\n"), "no readable video", core=True
    ),
    "an HLS playlist": Kind(
        lambda p: neighbour(p, "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n.other.mp4\n#EXT-X-ENDLIST\n"),
        "no readable video",
        core=True,
    ),
    "a live playlist": Kind(lambda p: neighbour(p, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/dev/zero\n"), "no"),
    "a DASH manifest": Kind(
        lambda p: neighbour(p, '<?xml version="1.0"?><MPD><BaseURL>.other.mp4</BaseURL></MPD>'), "no readable video"
    ),
    "a playlist of 100,000 lines": Kind(
        lambda p: neighbour(p, "ffconcat version 1.0\n" + "file .other.mp4\n" * 100_000), "no readable video"
    ),
    "a session description": Kind(
        lambda p: p.write_text("v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"), "no readable video"
    ),
    "a playlist in a mkv name": Kind(
        lambda p: neighbour(p, "ffconcat version 1.0\nfile .other.mp4\n"), "no readable video", name="{}.mkv"
    ),
    "a codec that nobody knows": Kind(lambda p: edited(p, clip(p).replace(b"avc1", b"zzz9")), "its codec", core=True),
    "30,000 pixels wide": Kind(lambda p: announced(p, 30000, 30000), "30000x30000, more than|no readable", core=True),
    "60,000 wide, flat": Kind(lambda p: announced(p, 60000, 600), "."),
    "9,000 x 9,000, packed small": Kind(
        lambda p: clip(p, "png", 2, size=(9000, 9000), pix_fmt="rgb24", format="mov"), "9000x9000, more than"
    ),
    "a strip": Kind(lambda p: clip(p, size=(2, 600)), "over 200 times"),
    "one pixel square": Kind(lambda p: clip(p, size=(2, 2)), lambda frames: frames.shape[1:3] == (28, 28)),
    "a million frames a second": Kind(
        lambda p: patched(p, b"mdhd", 16, struct.pack(">I", 2**31 - 1)), "frames a second|cut|no readable"
    ),
    # files that are none
    "a pipe": Kind(lambda p: os.mkfifo(p), "no regular file", core=True),
    "a socket": Kind(lambda p: socket.socket(socket.AF_UNIX).bind(os.path.relpath(p)), "can't be opened|no regular"),
    "an empty folder": Kind(lambda p: p.mkdir(), "holds no images"),
    "a link out of the root": Kind(
        lambda p: (clip(p.parents[1] / "outside.mp4"), p.symlink_to(p.parents[1] / "outside.mp4")),
        "link that leaves the data root",
        core=True,
    ),
    "a link to a device": Kind(lambda p: p.symlink_to("/dev/zero"), "link that leaves the data root"),
    "a link to itself": Kind(lambda p: p.symlink_to(p), "it can't be read|does not exist", core=True),
    "a link to nothing": Kind(lambda p: p.symlink_to(p.parent / "nothing"), "does not exist"),
    "a link within the root": Kind(lambda p: (clip(p.parent / ".real.mp4"), p.symlink_to(".real.mp4")), whole),
    "a file that none may read": Kind(unreadable, whole if os.getuid() == 0 else "can't be opened"),
    "an outside file by reference": Kind(
        lambda p: edited(p, clip(p).replace(b"url \x00\x00\x00\x01", b"alis\x00\x00\x00\x00")), "."
    ),
    # healthy, by other hands
    "turned by 90, PyAV's": Kind(
        lambda p: clip(p, rotation=90), lambda f: bright(f, 1, 0) and f.shape[1] > f.shape[2], core=True
    ),
    "turned clockwise, as phones do": Kind(
        lambda p: set_matrix(p, 0, 1, -1, 0), lambda f: bright(f, 0, 1) and f.shape[1] > f.shape[2], core=True
    ),
    "upside down": Kind(lambda p: set_matrix(p, -1, 0, 0, -1), lambda f: bright(f, 1, 1)),
    "mirrored": Kind(lambda p: set_matrix(p, -1, 0, 0, 1), lambda f: bright(f, 0, 1)),
    "turned and mirrored": Kind(
        lambda p: set_matrix(p, 0, 1, 1, 0), lambda f: bright(f, 0, 0) and f.shape[1] > f.shape[2]
    ),
    "a matrix of zeros": Kind(lambda p: set_matrix(p, 0, 0, 0, 0), whole),
    "the better stream second": Kind(two_streams, lambda f: f.mean() > 180, core=True),
    "a Latin-1 title": Kind(
        lambda p: edited(p, clip(p, title="Zimmxxr").replace(b"Zimmxxr", b"Zimm\xfc\xe9r")), whole, core=True
    ),
    "escapes in its name": Kind(clip, whole, name="\x1b[31mred\n{}.mp4"),
    "escapes in its name, broken": Kind(
        lambda p: p.touch(), r"\\x1b\[31mred\\n", name="\x1b[31mred\n{}.mp4", core=True
    ),
    "a name that is not UTF-8": Kind(clip, whole, name="caf\udce9{}.mp4", core=True),
    "a name that is not UTF-8, broken": Kind(lambda p: p.touch(), "is empty", name="caf\udce9{}.mp4"),
    "a name of 230 bytes": Kind(clip, whole, name="n" * 220 + "{}.mp4"),
    "a name like a protocol": Kind(clip, whole, name="concat:a|b{}.mp4"),
    "a name like a pattern": Kind(clip, whole, name="%03d*?[{}].mp4"),
    "garbage after its end": Kind(lambda p: edited(p, clip(p) + bytes(5000)), whole),
    "matroska named mp4": Kind(lambda p: clip(p, format="matroska"), whole),
    "avi named mp4": Kind(lambda p: clip(p, "mpeg4", format="avi"), whole),
    "a transport stream": Kind(lambda p: clip(p, format="mpegts"), whole, name="{}.mp4"),
    "a stream that grows": Kind(two_sizes, "."),
    "fragments": Kind(lambda p: clip(p, options=FRAGMENTS), whole),
    "ten bits": Kind(lambda p: clip(p, pix_fmt="yuv420p10le"), whole),
    "grey": Kind(lambda p: clip(p, pix_fmt="gray"), whole),
    "one frame": Kind(lambda p: clip(p, frames=1), whole),
    # folders of images
    "images": Kind(pictures, whole, name="{}", core=True),
    "images of several sizes": Kind(
        lambda p: Image.fromarray(corner(48, 32)).save(pictures(p) / "1.png"), whole, name="{}"
    ),
    "a picture of 10 gigapixels": Kind(
        lambda p: png(pictures(p) / "0.png", 10**5, 10**5), "0.png", name="{}", core=True
    ),
    "a picture of 70 megapixels": Kind(lambda p: png(pictures(p) / "0.png", 10**4, 7000), "0.png is 10000x", name="{}"),
    "200 MB of text in a picture": Kind(lambda p: text_bomb(pictures(p) / "0.png"), "0.png can't be read", name="{}"),
    "half a picture": Kind(
        lambda p: os.truncate(pictures(p) / "3.png", 80), "3.png can't be read", name="{}", core=True
    ),
    "a text named png": Kind(lambda p: (pictures(p) / "1.png").write_text("hi"), "1.png can't be read", name="{}"),
    "a folder named png": Kind(lambda p: (pictures(p) / "9.png").mkdir(), whole, name="{}", core=True),
    "a pipe named png": Kind(
        lambda p: os.mkfifo(pictures(p) / "9.png"), "9.png is no regular file", name="{}", core=True
    ),
    "a picture that leads away": Kind(
        lambda p: (pictures(p) / "9.png").symlink_to("/etc/hostname"),
        "9.png is a link that leaves",
        name="{}",
        core=True,
    ),
    "a picture that leads to nothing": Kind(
        lambda p: (pictures(p) / "9.png").symlink_to(p / "none"), "9.png can't be opened|No such", name="{}"
    ),
    "16 bits deep": Kind(
        lambda p: Image.fromarray(np.full((64, 96), 999, np.uint16)).save(pictures(p) / "0.png"), "8 bits", name="{}"
    ),
    "odd digits in a name": Kind(lambda p: (pictures(p) / "3.png").rename(p / "x²٣.png"), whole, name="{}"),
    "a rate of infinity": Kind(lambda p: rate_file(p, '{"fps": 1e999}'), "frames.json gives inf", name="{}"),
    "a rate that is no number": Kind(lambda p: rate_file(p, '{"fps": NaN}'), "frames.json gives nan", name="{}"),
    "a rate 100,000 deep": Kind(lambda p: rate_file(p, "[" * 10**5), "frames.json", name="{}", core=True),
    "a rate in a list": Kind(lambda p: rate_file(p, "[5]"), "frames.json should read", name="{}"),
    "a rate of 4,301 digits": Kind(lambda p: rate_file(p, '{"fps": ' + "9" * 4301 + "}"), "frames.json", name="{}"),
    "a rate from a pipe": Kind(
        lambda p: os.mkfifo(pictures(p) / "frames.json"), "frames.json is no regular", name="{}"
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """One build over all of the kinds that are run, with a healthy video first, in the middle and last."""
    root = tmp_path_factory.mktemp("hostile") / "root"
    items: list[Any] = request.session.items
    names = {item.callspec.params.get("kind") for item in items if hasattr(item, "callspec")}
    kinds = {name: kind for name, kind in KINDS.items() if name in names}
    paths = {name: root / (kind.name or "{}.mp4").format(i) for i, (name, kind) in enumerate(kinds.items())}
    healthy = [root / f"healthy{i}.mp4" for i in range(3)]
    for path in healthy:
        clip(path)
    previous = Path.cwd()
    os.chdir(root)  # a socket's path is short
    for name, path in paths.items():
        kinds[name].make(path)
    os.chdir(previous)
    store = FrameStore(root / "frames", SPEC, "quarantine", LIMITS, root, workers=2)
    order = [healthy[0], *list(paths.values())[::2], healthy[1], *list(paths.values())[1::2], healthy[2]]
    before, start, ends = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic(), {}
    seconds: dict[Path, float] = {}

    def note(outcome: VideoOutcome) -> None:
        nonlocal start
        seconds[outcome.video], start = time.monotonic() - start, time.monotonic()
        ends[outcome.video] = outcome

    build(store, order, 2, note)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    yield {"ends": ends, "paths": paths, "healthy": healthy, "store": store, "seconds": seconds, "grown": grown}
    shutil.rmtree(root)


PARAMETERS = [
    pytest.param(name, id=name, marks=[] if kind.core else [pytest.mark.slow]) for name, kind in KINDS.items()
]


@pytest.mark.parametrize("kind", PARAMETERS)
def test_a_hostile_video_ends_in_right_frames_or_an_error_that_names_it(kind: str, outcomes: dict[str, Any]) -> None:
    path, expected = outcomes["paths"][kind], KINDS[kind].ends
    outcome: VideoOutcome = outcomes["ends"][path]
    assert outcomes["seconds"][path] < MOST_SECONDS
    if callable(expected):
        assert outcome.status == "built", outcome.error
        assert expected(outcomes["store"].frames(path).array)
    elif outcome.status == "failed" or expected != ".":  # ".": either is right
        assert outcome.status == "failed"
        assert re.match(r"video '.*': .*; \S", outcome.error, re.DOTALL)
        assert re.search(expected, outcome.error), outcome.error
        assert not re.search(r"[\x00-\x1f]", outcome.error)
        assert path.name in outcome.error or not path.name.isprintable()


@pytest.mark.parametrize("kind", ["(the others)"])
def test_the_healthy_ones_among_them_are_untouched_and_memory_is_bounded(kind: str, outcomes: dict[str, Any]) -> None:
    for path in outcomes["healthy"]:
        assert outcomes["ends"][path].status == "built", outcomes["ends"][path].error
        assert whole(outcomes["store"].frames(path).array)
    assert outcomes["grown"] < MOST_MEMORY
    entries = list(outcomes["store"].root.glob(f"{SPEC.key}/*.json"))
    assert {json.loads(e.read_text())["sha256"] for e in entries} == {e.stem for e in entries}
    assert not list(outcomes["store"].root.rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_random_damage_is_an_error_or_leaves_the_frames_as_they_were(tmp_path: Path, codec: str) -> None:
    """150 cuts and flips a codec: an array that is built differs from the undamaged one by little, or is refused."""
    data = noise(tmp_path / "whole.mp4", codec)
    store = FrameStore(tmp_path / "frames", SPEC, "skip", LIMITS, tmp_path, workers=2)
    right, chance = store.frames(tmp_path / "whole.mp4").array.astype(int), random.Random(codec)
    wrong = 0
    for i in range(150):
        damaged = bytearray(data)
        for at in chance.sample(range(len(data)), chance.choice((1, 4, 16))):
            damaged[at] ^= 1 << chance.randrange(8)
        path = tmp_path / f"{i}.mp4"
        path.write_bytes(damaged[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
        (outcome,) = build(store, [path]).outcomes
        assert outcome.status == "built" or path.name in outcome.error
        if outcome.status == "built":
            array = store.frames(path).array.astype(int)
            wrong += array.shape != right.shape or bool(np.abs(array - right).mean(axis=(1, 2, 3)).max() > 5)
    print(f"{codec}: {wrong} of 150 damaged videos pass with a frame off by more than 5 grey levels")
    assert wrong <= 15
