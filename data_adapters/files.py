"""Files written whole or not at all, and paths that stay under their root."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(OSError):
    """Nothing more could be written; names the file and the space that is left."""


def free_space(path: Path) -> str:
    """What is left on the disk of a path, in words.

    Args:
        path: a file or folder, or one that is still to be made.
    """
    while not path.is_dir() and path != path.parent:
        path = path.parent
    usage = shutil.disk_usage(path)
    return f"{path} has {usage.free / 2**20:,.0f} MiB free of {usage.total / 2**20:,.0f} MiB"


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Let a full disk, an exhausted quota or a file over its limit be said with the path and the free space.

    Args:
        path: what is written in the block.

    Raises:
        DiskFullError: in place of the system's own error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK or isinstance(error, DiskFullError):
            raise
        raise DiskFullError(
            error.errno,
            f"writing {path} failed ({os.strerror(error.errno)}): {free_space(path)}. Free some space and give the "
            "same command again: what was written before is whole",
        ) from error


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well, and is removed when not.

    Args:
        target: the file to write; its folder is made where missing.

    Raises:
        DiskFullError: there is no room for it.
    """
    with full_disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        handle, temporary = _locked_temporary(target)
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


def _locked_temporary(target: Path) -> tuple[int, Path]:
    """A new file beside `target`, and its descriptor, whose lock says that somebody still writes it.

    Its mode is as the user's umask says: mkstemp's 0600 would keep a cluster's other users out.
    """
    while True:
        temporary = hidden_beside(target)
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process sweeps at this very moment
            os.close(handle)
            continue
        except OSError:
            return handle, temporary  # no locks here: leftovers stay
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)


def _sweep(target: Path) -> None:
    """Remove what writers of `target` that were killed have left: their locks ended with them."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*{glob.escape(target.suffix)}"):
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def hidden_beside(target: Path) -> Path:
    """A new hidden name beside `target`, with its suffix."""
    return target.parent / f".{target.name}.{secrets.token_hex(4)}{target.suffix}"


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all.

    Args:
        target: the file; its folder is made where missing.
        text: all of its content.
    """
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, content: bytes) -> None:
    """Write bytes whole or not at all.

    Args:
        target: the file; its folder is made where missing.
        content: all of it.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def relative(text: str, where: str) -> str:
    """`text` as a path relative to some root, with forward slashes: the form in which records and rows keep paths.

    Args:
        text: the path, with slashes of either kind.
        where: start of the message, e.g. the row that names the path.

    Raises:
        ValueError: it is empty, absolute, or climbs out with ``..``; the message starts with `where`.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if not text.strip() or path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts:
        raise ValueError(f"{where}: path '{text}' leaves the data root; give it relative to vsi.root, without '..'")
    return str(path)


def inside(root: Path, relative: str) -> Path:
    """The path of `relative` under `root`.

    Args:
        root: a folder; may itself be a link.
        relative: with forward slashes.

    Raises:
        ValueError: it is absolute or climbs out of `root`, by name or through a link that leaves it.
    """
    parts = PurePosixPath(relative)
    path = root / parts
    if (
        parts.is_absolute()
        or ".." in parts.parts
        or "\\" in relative
        or not path.resolve().is_relative_to(root.resolve())
    ):
        raise ValueError(f"path '{relative}' leaves the data root {root}; give it relative to the root, without '..'")
    return path
