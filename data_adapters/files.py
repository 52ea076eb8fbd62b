"""Files written whole or not at all, lines of JSON, and paths that stay under their root."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well, and is removed when not.

    Args:
        target: the file to write; its folder is made where missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_beside(target)
    temporary.touch(exist_ok=False)  # as the user's umask says: mkstemp's 0600 would keep a cluster's other users out
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def hidden_beside(target: Path) -> Path:
    """A new hidden name beside `target`, with its suffix."""
    return target.parent / f".{target.name}.{secrets.token_hex(4)}{target.suffix}"


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


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's value, after the words that name file and line in a message; blank lines are passed over.

    Raises:
        ValueError: a line is not JSON.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            if line.strip():
                try:
                    yield where, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(
                        f"{where}: not JSON ({error}); was the file cut short? Build or download it again"
                    ) from error


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
