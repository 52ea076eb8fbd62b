"""`verl-vsi frames build` and `check`: parallel, resumable, safe beside itself, honest about failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from verl_vsi.commands.frames import DEFAULTS, app
from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
from verl_vsi.data_adapters.frames.build import find_videos

WriteVideo = Callable[..., Path]

OPTIONS = ["--sampler", "linspace", "--nframes", "4", "--min-pixels", "784", "--max-pixels", "12544"]
SPEC = FrameSpec(sampler="linspace", nframes=4, min_pixels=784, max_pixels=12544)


@pytest.fixture
def root(tmp_path: Path, write_video: WriteVideo) -> Path:
    for i in range(4):
        write_video(tmp_path / "rooms" / f"{i}.mp4", seed=i)
    return tmp_path


def run(command: str, root: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [command, "--root", str(root), *OPTIONS, *more])
    return result.exit_code, " ".join(result.output.split())


def arrays(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((root / "frames" / SPEC.key).iterdir()) if p.suffix != ".lock"}


def test_a_build_makes_what_is_missing_and_leaves_what_is_whole(root: Path) -> None:
    assert run("check", root)[0] == 1
    assert "4 built" in run("build", root, "--workers", "2")[1]
    before = arrays(root)
    assert len(before) == 8  # an array and an entry each
    code, output = run("build", root, "--workers", "1")
    assert (code, "4 found" in output) == (0, True)
    assert arrays(root) == before
    assert run("check", root)[0] == 0


def test_more_videos_than_workers_give_one_worker_s_very_frames(root: Path) -> None:
    run("build", root, "--workers", "1")
    expected = arrays(root)
    for path in (root / "frames" / SPEC.key).iterdir():
        path.unlink()
    assert "4 built" in run("build", root, "--workers", "3")[1]
    assert arrays(root) == expected


def test_rows_name_the_videos_to_build(root: Path, write_rows: Any) -> None:
    rows = write_rows(root / "rows.parquet", [{"video": "rooms/1.mp4"}, {"video": "rooms/1.mp4"}])
    assert "1 built" in run("build", root, str(rows), "--workers", "1")[1]


@pytest.mark.parametrize(("on_error", "code"), [("raise", 1), ("skip", 0), ("quarantine", 0)])
def test_a_broken_video_is_named_and_the_others_are_built(root: Path, on_error: str, code: int) -> None:
    (root / "rooms" / "2.mp4").write_bytes(b"")
    exit_code, output = run("build", root, "--workers", "1", "--on-error", on_error)
    assert exit_code == code
    assert "rooms/2.mp4': it is empty (0 bytes)" in output
    assert "3 built, 1 failed" in output


def test_check_tells_missing_damaged_and_broken_apart(root: Path) -> None:
    run("build", root, "--workers", "1")
    store = FrameStore(root / "frames", SPEC, data_root=root)
    store._path(store._key(root / "rooms" / "0.mp4")).with_suffix(".npy").write_bytes(b"x")
    (root / "rooms" / "1.mp4").write_bytes(b"y")
    code, output = run("check", root)
    assert code == 1
    assert "rooms/0.mp4: its array is damaged, a build makes it again" in output
    assert "rooms/1.mp4': it is no readable video" in output
    assert "2 found, 1 missing, 1 failed" in output


def test_a_row_that_leaves_the_root_stops_the_build(root: Path, write_rows: Any) -> None:
    rows = write_rows(root / "rows.parquet", [{"video": "../a.mp4"}])
    code, output = run("build", root, str(rows))
    assert code == 2
    assert "'../a.mp4' leaves the data root" in output


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, output = run("build", tmp_path / "none")
    assert code == 2
    assert "set VSI_ROOT" in output


def test_hidden_files_and_the_store_itself_are_no_videos(root: Path) -> None:
    (root / "frames").mkdir()
    (root / "frames" / "x.mp4").touch()
    (root / "rooms" / ".part.mp4").touch()
    assert [p.name for p in find_videos(root, root / "frames")] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def command(root: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "verl_vsi.cli", "frames", "build", "--root", str(root), *OPTIONS]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # a shell's background job, as these tests may be, ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_two_builders_at_once_share_the_work(root: Path) -> None:
    builders = [command(root) for _ in range(2)]
    outputs = [b.communicate(timeout=120)[0] for b in builders]
    assert [b.returncode for b in builders] == [0, 0], outputs
    assert len(arrays(root)) == 8
    assert run("check", root)[0] == 0


def test_a_killed_build_is_completed_identically_by_the_next(root: Path, write_video: WriteVideo) -> None:
    run("build", root, "--workers", "1")
    expected = arrays(root)
    for path in (root / "frames" / SPEC.key).iterdir():
        path.unlink()
    victim = command(root)
    deadline = time.monotonic() + 60
    while not list((root / "frames" / SPEC.key).glob("*.npy")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(victim.pid, signal.SIGKILL)  # the builder and its workers
    victim.communicate(timeout=60)
    assert run("build", root, "--workers", "1")[0] == 0
    assert arrays(root) == expected


@contextmanager
def unfinished_build(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A build that is surely still at it: one video's lock is taken, and the first array has been written."""
    run("build", root, "--workers", "1")
    folder = root / "frames" / SPEC.key
    locked = min(folder.glob("*.npy")).with_suffix(".lock")
    for path in folder.iterdir():
        path.unlink()
    with FileLock(locked):
        build = command(root)
        while not list(folder.glob("*.npy")) and build.poll() is None:
            time.sleep(0.005)
        yield build


def test_an_interrupted_build_goes_on_and_cleans_up(root: Path) -> None:
    with unfinished_build(root) as victim:
        os.killpg(victim.pid, signal.SIGINT)
    victim.communicate(timeout=60)
    assert victim.returncode != 0
    assert run("build", root, "--workers", "1")[0] == 0
    assert not list((root / "frames" / SPEC.key).glob(".*"))


def alive(group: int) -> list[int]:
    """Processes of a process group that are not only waiting to be reaped."""
    members: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, _, member = stat.read_text().rpartition(")")[2].split()[:3]
            members += [int(stat.parent.name)] if int(member) == group and state != "Z" else []
    return members


def test_workers_end_with_a_killed_builder(root: Path) -> None:
    with unfinished_build(root) as victim:  # a worker waits for the locked video, and must not wait on alone
        victim.kill()
        victim.communicate(timeout=60)
        deadline = time.monotonic() + 30
        while alive(victim.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(victim.pid)


def test_the_commands_defaults_are_the_recipes() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    base = Path(__file__).parents[3] / "recipes" / "recipe" / "_vsi.yaml"
    frames = omegaconf.OmegaConf.load(base).vsi.frames
    assert {key: frames[key] for key in DEFAULTS} == DEFAULTS
