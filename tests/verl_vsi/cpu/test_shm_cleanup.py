"""Shared memory that killed runs leave, and that of others, which stays."""

import os
import sys
from pathlib import Path

import pytest

from verl_vsi import cpu
from verl_vsi.cpu import shm_cleanup

MIB = shm_cleanup.MIB


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    (tmp_path / "shm").mkdir()
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "maps").write_text("7f00-7f01 rw-s 00000000 00:1a 9 /usr/lib/libc.so\n")
    return tmp_path / "shm"


def segment(memory: Path, name: str, size: int, age: float = 3600) -> Path:
    """A sparse file, last written `age` seconds ago."""
    path = memory / name
    with path.open("wb") as file:
        file.truncate(size)
    written = path.stat().st_mtime - age
    os.utime(path, (written, written))
    return path


def sweep(memory: Path) -> list[str]:
    return [path.name for path in shm_cleanup.sweep(memory, memory.parent / "proc")]


@pytest.mark.parametrize(
    ("size", "buffer"),
    [
        (10 * (16 * MIB + 2), True),
        (10 * (24 * MIB + 2), True),
        (10 * (24 * MIB + 9), True),
        (10 * 24 * MIB, False),
        (10 * (24 * MIB + 1), False),
        (64 * MIB, False),
        (20, False),
        (10 * (24 * MIB + 2) + 1, False),
    ],
    ids=["16 MiB", "24 MiB", "eight readers", "no metadata", "no reader", "another use", "no chunks", "odd"],
)
def test_only_a_size_that_vllms_ring_buffer_can_have_is_taken_for_one(size: int, buffer: bool) -> None:
    assert shm_cleanup.is_ring_buffer(size) is buffer


def test_vllm_still_sizes_its_buffer_like_that() -> None:
    """When this fails, vLLM has another layout: `is_ring_buffer` sweeps nothing any more."""
    pytest.importorskip("vllm")
    from verl_vsi import cpu

    cpu.prepare()
    from vllm.distributed.device_communicators.shm_broadcast import ShmRingBuffer

    buffer = ShmRingBuffer(n_reader=3, max_chunk_bytes=2 * MIB, max_chunks=shm_cleanup.CHUNKS)
    assert shm_cleanup.is_ring_buffer(buffer.total_bytes_of_buffer)


def test_an_old_buffer_that_nobody_maps_is_removed(memory: Path) -> None:
    old = segment(memory, "psm_1a2b3c4d", 10 * (24 * MIB + 2))
    assert sweep(memory) == [old.name]
    assert not old.exists()


def test_a_buffer_that_a_process_maps_stays(memory: Path) -> None:
    segment(memory, "psm_1a2b3c4d", 10 * (24 * MIB + 2))
    line = "7f00-7f01 rw-s 00000000 00:1a 9                  /dev/shm/psm_1a2b3c4d\n"
    (memory.parent / "proc" / "7" / "maps").write_text(line)
    assert sweep(memory) == []


@pytest.mark.parametrize(
    ("name", "size", "age"),
    [
        ("psm_1a2b3c4d", 10 * (24 * MIB + 2), 30),
        ("psm_1a2b3c4d", 64 * MIB, 3600),
        ("plasma_1a2b", 10 * (24 * MIB + 2), 3600),
    ],
    ids=["of a run that starts now", "of another program", "by another name"],
)
def test_everything_else_stays(name: str, size: int, age: float, memory: Path) -> None:
    segment(memory, name, size, age)
    assert sweep(memory) == []


@pytest.mark.parametrize(("argv", "swept"), [(["main_ppo", "+recipe=x"], 1), (["main_ppo"], 0)])
def test_only_a_driver_with_a_recipe_sweeps(argv: list[str], swept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(shm_cleanup, "sweep", lambda memory, processes: calls.append(memory))
    cpu._sweep_in_driver()
    assert len(calls) == swept
