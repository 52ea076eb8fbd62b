"""JSON that others wrote: in any Unicode encoding, gzipped or not; what can't be read is named with file and line.

A file is read within bounds: a line, a whole document, and how much a compressed file may grow.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, cast

MAX_LINE = 64 * 2**20
"""Bytes of one line."""

MAX_DOCUMENT = 2**30
"""Bytes of a file that is one JSON document, which is read whole."""

MAX_GROWTH = 200
"""Times its size that a gzipped file may unpack to (text shrinks 4 to 50 times), once it is beyond `MAX_LINE`."""

MAX_BLANK_LINES = 100_000
"""In a row."""

_CUT = "was the file cut short? Build or download it again"


@dataclass(frozen=True)
class Unreadable:
    """A line that is no JSON object, and why."""

    reason: str


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's value, after the words that name file and line in a message; blank lines are passed over.

    Raises:
        ValueError: a line is no JSON object.
    """
    for where, value in json_lines(path):
        if isinstance(value, Unreadable):
            raise ValueError(f"{where}: {value.reason}")
        yield where, value


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | Unreadable]]:
    """As `read_json_lines`, with an `Unreadable` in place of each line that is no JSON object.

    Raises:
        ValueError: the file is compressed and damaged, or beyond one of this module's bounds.
    """
    blank = 0
    for number, line in enumerate(_lines(path), 1):
        if isinstance(line, Unreadable):
            yield f"{path}, line {number}", line
        elif line.strip():
            yield f"{path}, line {number}", _object(line)
        blank = 0 if isinstance(line, Unreadable) or line.strip() else blank + 1
        if blank > MAX_BLANK_LINES:
            raise ValueError(f"{path}, line {number}: {blank} blank lines in a row (json_files.MAX_BLANK_LINES)")


def _object(line: str) -> dict[str, Any] | Unreadable:
    try:
        value = parse(line)
    except ValueError as error:
        return Unreadable(f"not JSON ({error}); {_CUT}")
    if isinstance(value, dict):
        return value
    return Unreadable(f"expected a JSON object, got {_kind(value)}: {line.strip()[:40]}")


def read_document(path: Path) -> Any:
    """The value of a file that is one JSON document.

    Raises:
        ValueError: it is not JSON, not text, or beyond bounds; the message names the file.
    """
    bound = min(MAX_DOCUMENT, _bound(path))
    with _open(path) as file:
        content = _read(file, bound + 1, path)
    if len(content) > bound:
        raise ValueError(
            f"{path}: a JSON document of more than {bound} bytes (json_files.MAX_DOCUMENT, or MAX_GROWTH of a "
            "compressed file); write one object a line (JSONL)"
        )
    try:
        return parse(content.decode(json.detect_encoding(content)))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); {_way_out(error)}") from error


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, is nested too deep, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r:.40} twice in one object")
    return values


def _kind(value: Any) -> str:
    names = {"list": "a list", "str": "a text", "int": "a number", "float": "a number", "NoneType": "null"}
    return names.get(type(value).__name__, "true or false")


def _way_out(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "write it as UTF-8 (iconv -f LATIN1 -t UTF-8)"
    return _CUT


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")


def _bound(path: Path) -> int:
    """Bytes that the file may hold, unpacked."""
    return max(MAX_LINE, MAX_GROWTH * path.stat().st_size)


def _read(file: BinaryIO, size: int, path: Path, line: bool = False) -> bytes:
    try:
        return file.readline(size) if line else file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the compressed file is damaged ({error}); {_CUT}") from error


def _lines(path: Path) -> Iterator[str | Unreadable]:
    """Lines as text; each is decoded by itself, so that one in another encoding spoils no other."""
    encoding = _encoding(path)
    bound = _bound(path)
    with _open(path) as file:
        if not encoding.startswith("utf-8"):  # a line's end is more than one byte
            yield from _wide_lines(file, encoding, path, bound)
            return
        size = 0
        while raw := _read(file, MAX_LINE + 1, path, line=True):
            size += len(raw)
            if len(raw) > MAX_LINE or size > bound:
                limit = "MAX_LINE" if len(raw) > MAX_LINE else "MAX_GROWTH"
                raise ValueError(f"{path}: it is beyond json_files.{limit}, {MAX_LINE} bytes a line or {bound} in all")
            try:
                yield raw.decode("utf-8-sig" if size == len(raw) else "utf-8")
            except UnicodeDecodeError as error:
                yield Unreadable(f"not UTF-8 ({error.reason} at byte {error.start}); {_way_out(error)}")


def _wide_lines(file: BinaryIO, encoding: str, path: Path, bound: int) -> Iterator[str]:
    size = 0
    try:
        with TextIOWrapper(file, encoding) as text:
            while line := text.readline(MAX_LINE):
                size += len(line)
                if size > bound or len(line) == MAX_LINE:
                    raise UnicodeError(f"beyond json_files.MAX_LINE or MAX_GROWTH, {bound} characters in all")
                yield line
    except (UnicodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not {encoding} text ({error}); write it as UTF-8") from error


def _encoding(path: Path) -> str:
    with _open(path) as file:
        return json.detect_encoding(_read(file, 4, path))


def first_character(path: Path) -> str:
    """The first character that is no white space, of the first some thousand; empty where there is none."""
    with _open(path) as file:
        content = _read(file, 4096, path)
    return content.decode(json.detect_encoding(content), errors="replace").lstrip("\ufeff \t\r\n")[:1]
