"""The store of someone else, files that change under it, records that were edited, limits that are reached."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from vsi_support.bad_readers import grow, sleep
from vsi_support.frame_stores import SPEC, array_of, store_of

from verl_vsi.data_adapters.frames import FrameError, FrameStore, VideoLimits
from verl_vsi.data_adapters.frames import decode as decode_module
from verl_vsi.data_adapters.frames.build import outcome_of
from verl_vsi.data_adapters.frames.content import signature
from verl_vsi.data_adapters.frames.decode import ArrayOrder, decode, look_into, read_video
from verl_vsi.data_adapters.frames.decoders import pyav_reader
from verl_vsi.data_adapters.frames.decoders.base import Clip

WriteVideo = Callable[..., Path]

# --- changes ---


def test_another_video_of_equal_size_and_time_is_decoded_anew(video: Path, write_video: WriteVideo) -> None:
    before, times = store_of(video).frames(video).array.copy(), (video.stat().st_atime_ns, video.stat().st_mtime_ns)
    size = video.stat().st_size
    other = write_video(video.parent / "b.mp4", seed=1)
    longest = max(size, other.stat().st_size)
    video.write_bytes(video.read_bytes().ljust(longest, b"\0"))
    os.utime(video, ns=times)
    store_of(video).frames(video)
    other.write_bytes(other.read_bytes().ljust(longest, b"\0"))
    os.replace(other, video)
    os.utime(video, ns=times)
    assert not np.array_equal(store_of(video).frames(video).array, before)


def test_a_video_that_is_replaced_while_it_is_decoded_does_not_take_the_old_name(
    video: Path, write_video: WriteVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ArrayOrder(SPEC, tmp_path / "x", Clip(24, 8.0, 64, 96), signature(video), {})
    whole = pyav_reader.pick

    def replaced(*args: object):
        for i, image in enumerate(whole(*args)):  # pyright: ignore[reportArgumentType]
            if i == 1:
                write_video(video, seed=1)
            yield image

    monkeypatch.setattr(pyav_reader, "pick", replaced)
    with pytest.raises(FrameError, match="was written to while it was read"):
        decode(video, order, 60)
    assert not list(tmp_path.glob("*x*.npy"))
    assert not list(tmp_path.glob("*x*.json"))


def test_a_video_that_grows_while_it_is_read_has_no_checksum(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decode_module.sha256

    def grown(*args: object) -> str:
        with video.open("ab") as file:
            file.write(b"x")
        return whole(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(decode_module, "sha256", grown)
    with pytest.raises(FrameError, match="was written to while it was read"):
        read_video(video, "pyav", 60)


def test_what_is_no_video_is_not_read_to_its_end(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video.write_text("no video")
    monkeypatch.setattr(decode_module, "sha256", None)
    with pytest.raises(FrameError, match="no readable video"):
        read_video(video, "pyav", 60)


# --- records ---


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"fps": 1.0}, id="another rate"),
        pytest.param({"indices": [0, 1, 2, 3]}, id="other frames"),
        pytest.param({"tokens": 1}, id="fewer tokens"),
        pytest.param({"decoder": "torchcodec"}, id="another decoder"),
    ],
)
def test_an_edited_entry_is_noticed_and_made_again(video: Path, edit: dict[str, object]) -> None:
    store = store_of(video)
    right, path = store.frames(video).meta, array_of(store).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    fresh = store_of(video)
    assert not fresh.intact(video)
    assert fresh.frames(video).meta == right


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"size": 1}', "[" * 100_000, "\x00", '{"cause": 5}'])
@pytest.mark.parametrize("folder", ["videos", "quarantine"])
def test_a_damaged_record_is_no_record(video: Path, text: str, folder: str) -> None:
    store = store_of(video, on_error="quarantine")
    broken = video.with_name("b.mp4")
    broken.write_text("no video")
    expected = store.frames(video).array
    with pytest.raises(FrameError):
        store.frames(broken)
    records = list((store.root / folder).rglob("*.json"))
    assert records
    for record in records:
        record.write_text(text)
    again = store_of(video, on_error="quarantine")
    assert np.array_equal(again.frames(video).array, expected)
    with pytest.raises(FrameError, match="no readable video"):
        again.frames(broken)


def test_a_record_cannot_lead_out_of_the_store(video: Path) -> None:
    store = store_of(video)
    store.frames(video)
    (record,) = (store.root / "videos").iterdir()
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": "../../../out"}))
    store_of(video).frames(video)
    assert not list(video.parents[1].rglob("*out*"))


# --- permissions ---


@pytest.fixture
def locked(video: Path) -> FrameStore:
    """A store that was filled, then made unwritable, with the video's time changed since."""
    store = store_of(video)
    store.frames(video)
    for path in [store.root, *store.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    os.utime(video, (1, 1))
    return store


def test_a_store_that_cannot_be_written_gives_what_it_holds_whatever_the_times(
    video: Path, locked: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("verl_vsi.data_adapters.frames.content.write_text", refuse)  # root may write anywhere
    monkeypatch.setattr("verl_vsi.data_adapters.frames.store.FileLock", refuse)
    store = store_of(video)
    assert store.has(video)
    assert store.intact(video)
    assert outcome_of(store, video, decode=True).status == "found"
    assert store.frames(video).meta == store.info(video)


def test_frames_that_a_store_lacks_and_cannot_take_name_it_and_the_way_out(
    video: Path, locked: FrameStore, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("verl_vsi.data_adapters.frames.store.FileLock", refuse)
    other = write_video(video.parent / "b.mp4", seed=1)
    with pytest.raises(OSError, match=r"Permission denied, writing .*b\.mp4'; user \d+ may not write there"):
        store_of(video).frames(other)


def test_files_keep_the_user_s_umask(video: Path) -> None:
    before = os.umask(0o027)
    try:
        store = store_of(video)
        store.frames(video)
    finally:
        os.umask(before)
    modes = {oct(p.stat().st_mode & 0o777) for p in [*store.root.rglob("*.json"), *store.root.rglob("*.npy")]}
    assert modes <= {"0o640", "0o644"}
    (record,) = (store.root / "videos").iterdir()
    assert record.stat().st_mode & 0o777 == 0o640


# --- limits ---


@pytest.mark.parametrize("limits", [(0, 4), (-1, 4), (float("nan"), 4), (float("inf"), 4), (60, 0), (60, float("nan"))])
def test_a_limit_that_is_none_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"vsi\.frames\.(timeout|memory) must be a positive number"):
        VideoLimits(*limits)


def test_a_reader_that_never_returns_is_ended(video: Path) -> None:
    store = store_of(video, limits=VideoLimits(seconds=0.5))
    with pytest.raises(FrameError, match=r"a\.mp4': decoding took over 0\.5 s; raise vsi\.frames\.timeout"):
        store._workers.call(sleep, video)
    assert store._workers.call(look_into, video, "pyav").total == 24


def test_a_reader_that_takes_all_memory_is_ended(video: Path) -> None:
    store = store_of(video, limits=VideoLimits(memory=0.2))
    with pytest.raises(FrameError, match=r"takes over 0\.2 GiB of memory; raise vsi\.frames\.memory"):
        store._workers.call(grow, video)
    assert store._workers.call(look_into, video, "pyav").total == 24
