"""Decoders: the frames asked for, and a named error for every file that can't give them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from verl_vsi.data_adapters.frames import FrameError, decoders
from verl_vsi.data_adapters.frames.decoders.base import Clip, CountMismatchError, Deadline
from verl_vsi.data_adapters.frames.spec import Decoder

WriteVideo = Callable[..., Path]


def pick(video: Path, indices: tuple[int, ...], seconds: float = 60) -> list[np.ndarray]:
    return list(decoders.pick(video, "pyav", indices, Deadline.after(seconds)))


def probe(video: Path, decoder: Decoder = "pyav") -> Clip:
    return decoders.probe(video, decoder, Deadline.after(60))


def every_frame(video: Path) -> list[np.ndarray]:
    with av.open(str(video)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mpeg4"), ("b.mp4", "libx264"), ("c.mkv", "libx264"), ("d.avi", "mpeg4")]
)
def test_an_index_is_that_frame_in_every_container(
    tmp_path: Path, write_video: WriteVideo, name: str, codec: str
) -> None:
    video = write_video(tmp_path / name, frames=30, codec=codec)
    everything = every_frame(video)
    indices = (0, 3, 3, 17, 29)  # x264's B-frames are stored out of order
    for image, index in zip(pick(video, indices), indices, strict=True):
        assert np.array_equal(image, everything[index])
    assert probe(video) == Clip(30, 8.0, 64, 96)


def test_an_index_beyond_the_stream_tells_its_true_length(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "a.mp4", frames=5)
    with pytest.raises(CountMismatchError) as caught:
        pick(video, (0, 9))
    assert caught.value.actual == 5


def truncated(path: Path, write_video: WriteVideo, **kind: Any) -> Path:
    whole = write_video(path, frames=40, **kind).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return path


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def text(path: Path) -> Path:
    path.write_text("<html>404 Not Found</html>")
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda p, w: truncated(p, w), "cut short"),  # the index stands at the end, and is gone
        (lambda p, w: truncated(p, w, faststart=True), r"cut short: \d+ bytes of at least \d+"),
        (lambda p, w: truncated(p, w, faststart=True, codec="libx264"), r"cut short: \d+ bytes of at least \d+"),
        (lambda p, w: truncated(p, w, format="matroska"), r"cut short: [\d.]+ s of [\d.]+ s"),  # no list of frames
        (lambda p, w: empty(p), "it is empty"),
        (lambda p, w: audio_only(p), "no video stream, only audio"),
        (lambda p, w: text(p), "no readable video"),  # a download's error page
        (lambda p, w: p, "it does not exist"),
    ],
    ids=[
        "truncated",
        "truncated-faststart",
        "truncated-h264",
        "truncated-matroska",
        "empty",
        "audio",
        "text",
        "missing",
    ],
)
def test_a_file_that_is_no_whole_video_is_named_with_the_cause(
    tmp_path: Path, write_video: WriteVideo, make: Callable[[Path, WriteVideo], Path], cause: str
) -> None:
    video = make(tmp_path / "scene.mp4", write_video)
    with pytest.raises(FrameError, match=rf"scene\.mp4': .*{cause}.*; \S"):
        probe(video)


def test_a_wrong_extension_is_no_obstacle(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "a.jpg", format="mp4")
    assert probe(video).total == 24


def test_time_is_limited(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "a.mp4")
    with pytest.raises(FrameError, match=r"took over 0 s; raise vsi\.frames\.timeout"):
        pick(video, (0, 23), seconds=0)


def test_a_folder_of_images_is_a_video_in_natural_order(tmp_path: Path) -> None:
    for i in (0, 2, 10):
        Image.new("RGB", (56, 28), (i * 10, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "frames.json").write_text('{"fps": 5}')
    assert probe(tmp_path) == Clip(3, 5.0, 28, 56)
    reds = [int(image[0, 0, 0]) for image in pick(tmp_path, (0, 1, 2))]
    assert reds == [0, 20, 100]


def test_an_empty_folder_and_a_broken_image_are_named(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="holds no images"):
        probe(tmp_path)
    (tmp_path / "0.jpg").write_bytes(b"no")
    with pytest.raises(FrameError, match=r"its image 0\.jpg can't be read"):
        probe(tmp_path)


def test_torchcodec_that_does_not_load_says_what_to_do(
    tmp_path: Path, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(ImportError, match=r"vsi\.frames\.decoder=torchcodec.*decoder=pyav"):
        probe(video, "torchcodec")


def test_torchcodec_gives_the_same_frames_where_it_loads(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "a.mp4", codec="libx264")
    try:
        clip = probe(video, "torchcodec")
    except ImportError as error:
        pytest.skip(str(error))
    assert clip == probe(video)
    late = ((0, 7, 23), Deadline.after(60))
    for theirs, ours in zip(decoders.pick(video, "torchcodec", *late), pick(video, late[0]), strict=True):
        assert np.abs(theirs.astype(int) - ours).max() <= 3  # two conversions from YUV
