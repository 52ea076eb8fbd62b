"""The store: decoded once, shared, checked, made again when it must be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from vsi_support.frame_stores import SPEC, array_of, store_of

from verl_vsi.data_adapters.frames import FrameError, FrameSpec, FrameStore, VideoLimits, arrays
from verl_vsi.data_adapters.frames.content import signature
from verl_vsi.data_adapters.frames.decode import ArrayOrder, decode
from verl_vsi.data_adapters.frames.decoders.base import Clip

WriteVideo = Callable[..., Path]


def test_an_array_holds_the_sampled_frames(video: Path) -> None:
    frames = store_of(video).frames(video)
    with av.open(str(video)) as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert frames.meta.indices == (0, 7, 15, 23)
    assert frames.array.shape == (4, 56, 84, 3)
    assert frames.array.dtype == np.uint8
    assert abs(frames.array[1].astype(float).mean() - np.mean(decoded[7])) < 2  # bicubic keeps the mean


def test_a_frame_that_needs_no_resize_is_stored_as_decoded(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "r" / "a.mp4", frames=4, size=(112, 112))
    array = store_of(video).frames(video).array
    with av.open(str(video)) as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert np.array_equal(array, np.stack(decoded))  # pyright: ignore


def test_the_index_says_what_the_container_says_before_any_decode(video: Path) -> None:
    store = store_of(video)
    before = store.info(video)
    assert not list(store.root.rglob("*.npy"))
    assert before == store.frames(video).meta == store_of(video).info(video)
    assert (before.grid_thw, before.tokens, before.seconds) == ((2, 4, 6), 12, 3.0)


def test_the_index_entry_can_be_read_by_people(video: Path) -> None:
    store = store_of(video)
    store.frames(video)
    entry = json.loads(array_of(store).with_suffix(".json").read_text())
    assert entry["source"] == "scannet/a.mp4"
    assert {"grid_thw", "tokens", "seconds", "fps", "indices", "crc32", "sha256", "decoder", "versions"} <= set(entry)


def test_a_second_process_only_maps(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store_of(video).frames(video).array
    monkeypatch.setattr(FrameStore, "_decode", None)  # decoding again would fail
    assert np.array_equal(store_of(video).frames(video).array, first)


def test_equal_content_under_two_names_is_one_array(video: Path) -> None:
    twin = video.with_name("b.mp4")
    twin.write_bytes(video.read_bytes())
    store = store_of(video)
    assert store.frames(video).array is store.frames(twin).array


def test_a_video_that_changes_is_decoded_anew(video: Path, write_video: WriteVideo) -> None:
    store = store_of(video)
    before = store.frames(video).array.copy()
    write_video(video, seed=1)
    assert not store.has(video)
    assert not np.array_equal(store.frames(video).array, before)


def test_frames_can_not_be_written_to(video: Path) -> None:
    store = store_of(video)
    frames = store.frames(video)
    with pytest.raises(ValueError, match="read-only"):
        frames.array[0] = 0
    frames.tensor().zero_()  # torch can't be stopped, but the file stays as it was
    assert store_of(video).frames(video).array.any()


@pytest.mark.parametrize("damage", ["altered", "cut", "removed", "entry", "version"])
def test_a_damaged_array_is_noticed_and_made_again(video: Path, damage: str) -> None:
    store = store_of(video)
    original = store.frames(video).array.copy()
    path = array_of(store)
    data, entry = bytearray(path.read_bytes()), path.with_suffix(".json")
    if damage == "altered":
        data[200] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-100])
    elif damage == "removed":
        path.unlink()
    elif damage == "entry":
        entry.write_text(entry.read_text()[:50])
    else:
        entry.write_text(entry.read_text().replace('"version": 2', '"version": 1'))
    fresh = store_of(video)
    assert not fresh.intact(video)
    assert np.array_equal(fresh.frames(video).array, original)
    assert fresh.intact(video)


def test_an_undecodable_packet_is_a_named_error(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "r" / "a.mp4", codec="libx264", frames=48)
    data = bytearray(video.read_bytes())
    middle = data.index(b"mdat") + 4
    data[middle + 700 : middle + 3000] = b"\xff" * 2300
    video.write_bytes(data)
    with pytest.raises(FrameError, match=r"a\.mp4"):
        store_of(video).frames(video)


def test_a_container_that_announces_too_many_frames_is_sampled_by_the_true_count(video: Path, tmp_path: Path) -> None:
    order = ArrayOrder(SPEC, tmp_path / "x", Clip(40, 8.0, 64, 96), signature(video), {})  # it has 24
    decode(video, order, 60)
    entry = arrays.read_info(tmp_path / "x")
    assert entry is not None
    assert entry[0].indices == (0, 7, 15, 23)


def test_quarantine_remembers_until_the_file_changes(video: Path, write_video: WriteVideo) -> None:
    video.write_text("no video")
    with pytest.raises(FrameError, match="no readable video"):
        store_of(video, on_error="quarantine").frames(video)
    with pytest.raises(FrameError, match=r"in quarantine: it is no readable video.*delete .*\.json to retry"):
        store_of(video, on_error="quarantine").info(video)
    write_video(video)
    assert store_of(video, on_error="quarantine").frames(video).meta.total == 24


def test_an_unknown_way_with_errors_is_refused(video: Path) -> None:
    with pytest.raises(ValueError, match="'ignore' is unknown, choose one of raise, skip, quarantine"):
        store_of(video, on_error="ignore")


def test_a_one_frame_video_is_an_error_for_qwen_and_repeats_for_linspace(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    video = write_video(tmp_path / "r" / "a.mp4", frames=1)
    assert store_of(video).frames(video).meta.indices == (0, 0, 0, 0)
    with pytest.raises(FrameError, match=r"a\.mp4': it has 1 frame.*linspace"):
        FrameStore(tmp_path / "frames", FrameSpec(nframes=4)).frames(video)


def test_threads_that_ask_at_once_get_one_array(video: Path) -> None:
    store = store_of(video)
    with ThreadPoolExecutor(8) as pool:
        arrays = list(pool.map(lambda _: store.frames(video).array, range(8)))
    assert all(a is arrays[0] for a in arrays)
    assert len(list((store.root / SPEC.key).glob("*.npy"))) == 1


SCRIPT = """
    import resource, sys, time
    from pathlib import Path
    from verl_vsi.data_adapters.frames import FrameSpec, FrameStore, arrays
    from verl_vsi.data_adapters.frames.decoders import pyav_reader
    spec = FrameSpec(sampler="linspace", nframes=4, min_pixels=28 * 28, max_pixels=112 * 112)
    video = Path(sys.argv[1])
    store = FrameStore(video.parents[1] / "frames", spec, data_root=video.parents[1])
"""


def start(video: Path, body: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(SCRIPT) + textwrap.dedent(body)
    arguments = [sys.executable, "-c", code, str(video)]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


SLOWLY = """
    whole = FrameStore._decode
    def slowly(*args):
        print("decoding", flush=True)
        time.sleep(1)
        whole(*args)
    FrameStore._decode = slowly
    store.frames(video)
"""


def test_two_processes_decode_once(video: Path) -> None:
    processes = [start(video, SLOWLY) for _ in range(2)]
    outputs = [p.communicate(timeout=60) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert sum(out.count("decoding") for out, _ in outputs) == 1


def test_a_kill_in_the_middle_leaves_nothing_and_the_next_run_is_identical(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    video = write_video(tmp_path / "r" / "long.mp4", frames=400, size=(320, 240))
    undisturbed = store_of(video)
    expected = undisturbed.frames(video).array.copy()
    entry = array_of(undisturbed).with_suffix(".json").read_bytes()
    folder = undisturbed.root / SPEC.key
    for path in folder.iterdir():
        path.unlink()
    victim = start(video, "    store.frames(video)\n")
    while victim.poll() is None and not list(folder.glob(".*")):
        time.sleep(0.002)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate(timeout=60)
    assert list(folder.glob(".*")), "the kill came too late to test anything"
    again = store_of(video)
    assert not again.has(video)
    assert np.array_equal(again.frames(video).array, expected)
    assert array_of(again).with_suffix(".json").read_bytes() == entry
    assert not list(folder.glob(".*"))


def test_a_full_disk_is_an_error_that_leaves_nothing_half_written(video: Path) -> None:
    # a limit on file size stands in for the full disk: the same write fails the same way
    full = start(video, "    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n    store.frames(video)\n")
    _, errors = full.communicate(timeout=60)
    assert full.returncode == 1
    assert "scannet/a.mp4'; free some space, or set vsi.frames.store to another disk" in errors
    assert not list(store_of(video).root.rglob("*.npy"))
    assert store_of(video).frames(video).meta.total == 24


def test_a_waiting_process_gives_up_with_the_lock_named(video: Path) -> None:
    from filelock import FileLock

    store = store_of(video, limits=VideoLimits(0.1))
    key = store._key(video)
    store._path(key).parent.mkdir(parents=True)
    with FileLock(store._path(key).with_suffix(".lock")), pytest.raises(FrameError, match=r"another process .*\.lock"):
        store.frames(video)


def test_memory_stays_bounded_while_decoding(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "r" / "a.mp4", frames=120, size=(644, 476))  # no resize
    body = """
    spec = FrameSpec(sampler="linspace", nframes=120, min_pixels=28 * 28, max_pixels=644 * 476)
    store = FrameStore(video.parents[1] / "frames", spec)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from verl_vsi.data_adapters.frames.decoders.base import Deadline
    meta = store.info(video)
    images = pyav_reader.pick(video, meta.indices, Deadline.after(60))
    arrays.write(store.root / "x", meta, images, {}, lambda: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    out, errors = start(video, body).communicate(timeout=120)
    assert int(out) < 60_000, errors  # KiB; the array is 107,000


def test_a_changed_time_with_equal_content_keeps_the_array(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_of(video).frames(video)
    os.utime(video, (time.time() + 9, time.time() + 9))
    monkeypatch.setattr(FrameStore, "_decode", None)
    assert store_of(video).frames(video).meta.total == 24
