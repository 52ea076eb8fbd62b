"""Files that are whole or absent, and paths that stay inside the data root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only when the block ends well; else it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content`, or leave what was there."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def relative(text: str, where: str) -> str:
    """`text` as a path relative to the data root, with forward slashes.

    Raises:
        ValueError: it is absolute, empty, or climbs out with ``..``; the message names `where`.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if not text.strip() or path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts:
        raise ValueError(f"{where}: path '{text}' leaves the data root; give it relative to vsi.root, without '..'")
    return str(path)


def inside(root: str | Path, text: str, where: str) -> Path:
    """The file that `text` names under `root`, symlinks followed.

    Raises:
        ValueError: the path leads out of `root`.
    """
    root = Path(root).resolve()
    path = (root / relative(text, where)).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"{where}: path '{text}' leads out of the data root {root} (to {path}); move the file inside")
    return path
