"""verl ends vLLM by killing it, so each run leaves two of vLLM's ring buffers in shared memory: remove old ones.

They hold some 20 MB, and vLLM refuses to start with less than 240 MB free. Only what is certainly such a buffer goes:
named and sized as vLLM's, ours, mapped by no process, and older than any start-up takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CHUNKS = 10
MIB = 1 << 20
MAX_READERS = 64
OLD = 600.0
"""Seconds; a buffer is mapped by its readers soon after it is made."""


def sweep(memory: Path, processes: Path) -> list[Path]:
    """Remove dead ring buffers under `memory`; return them.

    Args:
        memory: shared memory's folder, /dev/shm.
        processes: /proc.
    """
    old = [file for file in memory.glob("psm_*") if _is_old_buffer(file)]
    if not old:
        return []
    mapped = set(_mapped(processes))
    dead = [file for file in old if file.name not in mapped]
    for file in dead:
        with suppress(OSError):
            file.unlink()
    return dead


def _is_old_buffer(file: Path) -> bool:
    try:
        status = file.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and time.time() - status.st_mtime > OLD and is_ring_buffer(status.st_size)


def is_ring_buffer(size: int) -> bool:
    """vLLM's ShmRingBuffer: ten chunks of whole MiB, and for each chunk a byte a reader and one for the writer."""
    metadata, rest = divmod(size % (CHUNKS * MIB), CHUNKS)
    return size > CHUNKS * MIB and rest == 0 and 2 <= metadata <= 1 + MAX_READERS


def _mapped(processes: Path) -> Iterator[str]:
    """Names of the segments that some process has mapped; of others' processes nothing can be read, nor need be."""
    for maps in processes.glob("[0-9]*/maps"):
        with suppress(OSError):
            for line in maps.read_text().splitlines():
                if "/psm_" in line:
                    yield "psm_" + line.split("/psm_", 1)[1].split()[0]
