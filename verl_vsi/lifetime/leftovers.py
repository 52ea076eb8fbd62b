"""What a run has on a machine beside its folder: processes, shared memory, sockets, Ray's session. Linux's /proc only.

A process is a run's where its environment names the run's record (`RECORD_VARIABLE`): Ray's daemons and vLLM's
processes inherit it, Ray's workers get it by the runtime environment. A file is a run's where one of those processes
has it open or mapped, so nothing of another run, or of anybody else's, is touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from verl_vsi.config.checkpoints import RECORD_VARIABLE

_SHARED_MEMORY = re.compile(r"/dev/shm/(?:psm_|sem\.mp-|torch_|verl_weights_)[\w.-]+")
_RAY_SESSION = re.compile(r"(/[^\s=]*/session_[\d_-]+)/")
_CHECKPOINT_LOCK = "ckpt_*.lock"
"""verl's, in the folder for temporary files; named by a hash that differs from process to process."""


SOCKETS = "VLLM_RPC_BASE_PATH"
"""vLLM's environment variable: the folder for its sockets. It leaves one there even where it ends well."""
_LONGEST = 107 - len("/00000000-0000-0000-0000-000000000000")
"""Bytes that this folder's path may have: a socket's own has 107 at most."""


def socket_variables(record: Path) -> dict[str, str]:
    """Make a folder for the sockets of a run's vLLM; returns the variable that says so.

    Nothing where the user has set it, or where the folder for temporary files has too long a path.

    Args:
        record: the provenance file of the run's start.
    """
    folder = _socket_folder(record)
    if SOCKETS in os.environ or len(os.fsencode(folder)) > _LONGEST:
        return {}
    folder.mkdir(mode=0o700, exist_ok=True)
    return {SOCKETS: str(folder)}


def _socket_folder(record: Path) -> Path:
    """Known by the record alone, so that whoever clears away behind a killed run finds it."""
    return Path(tempfile.gettempdir()) / f"vsi-{hashlib.sha256(str(record).encode()).hexdigest()[:8]}"


def run_processes(record: Path) -> list[int]:
    """Process ids of a run on this machine, this process left out.

    Args:
        record: the provenance file of its start.
    """
    mark = f"{RECORD_VARIABLE}={record}".encode()
    return [pid for pid in _pids() if pid != os.getpid() and mark in _read(pid, "environ").split(b"\0")]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read(pid: int, name: str) -> bytes:
    """A file of a process; empty where the process has gone or is another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs (one that has ended and is not yet waited for does not)."""
    return b") Z " not in (status := _read(pid, "stat")) and status != b""


@dataclass
class Leftovers:
    """Files of a run that somebody has to remove once its processes are gone.

    Attributes:
        shared_memory: segments and semaphores that its processes have mapped.
        sockets: sockets in the file system that they are bound to.
        folders: for vLLM's sockets, see `socket_variables`.
        ray_sessions: folders of the Ray that the run itself has started.
    """

    shared_memory: set[Path] = field(default_factory=set)
    sockets: set[Path] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)
    ray_sessions: set[Path] = field(default_factory=set)

    def look(self, record: Path) -> list[int]:
        """Add what a run's processes have now; returns their ids.

        Args:
            record: the provenance file of the run's start.
        """
        pids, bound = run_processes(record), _bound_sockets()
        self.folders.add(_socket_folder(record))
        for pid in pids:
            maps = _read(pid, "maps").decode(errors="replace")
            self.shared_memory |= {Path(name) for name in _SHARED_MEMORY.findall(maps)}
            self.sockets |= {bound[inode] for inode in _open_sockets(pid) if inode in bound}
            command = _read(pid, "cmdline").decode(errors="replace")
            if "raylet" in command:
                self.ray_sessions |= {Path(name) for name in _RAY_SESSION.findall(command.replace("\0", " "))}
        return pids

    def remove(self, logs: Path | None, since: float) -> None:
        """Remove all of it; nothing of the run may be alive any more.

        Args:
            logs: where Ray's logs go, for a run that did not end well; None: they go with the rest.
            since: start of the run, seconds of the epoch; checkpoint locks that are older stay.
        """
        mapped = "".join(_read(pid, "maps").decode(errors="replace") for pid in _pids()) if self.shared_memory else ""
        for file in self.shared_memory:
            if file.name not in mapped:
                file.unlink(missing_ok=True)
        for file in self.sockets:
            with suppress(OSError):
                if stat.S_ISSOCK(file.stat().st_mode):
                    file.unlink()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        for session in self.ray_sessions:
            _remove_session(session, logs)
        _remove_checkpoint_locks(since)


def end_processes(record: Path, patience: float) -> list[int]:
    """Wait for a run's processes to end, then force those that are left; returns the ids of these.

    Args:
        record: the provenance file of the run's start.
        patience: seconds to wait.
    """
    end = time.monotonic() + patience
    while (pids := run_processes(record)) and time.monotonic() < end:
        time.sleep(0.2)
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + patience
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    return pids


def _open_sockets(pid: int) -> Iterator[int]:
    """Inodes of a process's sockets."""
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _bound_sockets() -> dict[int, Path]:
    """Inode -> path of the sockets that are bound to one."""
    lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    rows = [line.split(maxsplit=7) for line in lines]
    return {int(row[6]): Path(row[7]) for row in rows if len(row) == 8 and row[7].startswith("/")}


def _remove_session(session: Path, logs: Path | None) -> None:
    if logs is not None and (session / "logs").is_dir():
        with suppress(OSError):
            shutil.copytree(session / "logs", logs, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(session, ignore_errors=True)
    latest = session.with_name("session_latest")
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)


def _remove_checkpoint_locks(since: float) -> None:
    for file in Path(tempfile.gettempdir()).glob(_CHECKPOINT_LOCK):
        with suppress(OSError):
            status = file.stat()
            if status.st_uid == os.getuid() and status.st_mtime >= since and status.st_size == 0:
                with file.open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another run is at it where this fails
                    file.unlink()
