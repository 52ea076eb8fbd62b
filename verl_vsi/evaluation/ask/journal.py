"""Every answer on disk as it arrives: JSON lines, one process at a time.

A line that a kill has cut short, or that was edited, is passed over, and its question asked again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, get_args

from filelock import FileLock, Timeout

from verl_vsi.data_adapters.files import full_disk_named
from verl_vsi.evaluation.items import Reply, Status
from verl_vsi.evaluation.labels import current_keys

CHECK = "crc32"
"""Key of a line's checksum, over the rest of it; lines of earlier versions have none."""


class JournalError(ValueError):
    """The journal is another evaluation's, or another process is writing it."""


class Journal:
    """Append-only, one line a reply after a head line that says what is evaluated.

    Args:
        path: the file; made where missing.
        head: labels of this evaluation; a journal with another head is refused.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:  # noqa: D107
        self.path = path
        self._head = json.loads(json.dumps(head))
        self._lock = FileLock(path.with_name(path.name + ".lock"), timeout=0)
        self._file: BinaryIO | None = None
        self.replies: dict[int, Reply] = {}

    def __enter__(self) -> Journal:
        """Take the file, read what is there, cut a half line off.

        Raises:
            JournalError: another process holds it, or it belongs to an evaluation with other labels.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise JournalError(f"{self.path}: another process is writing it; wait for it, or give --out") from error
        try:
            whole = self._read()
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
            self._file.truncate(whole)
            self._file.seek(whole)
            if not whole:
                self._write({"head": self._head})
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file; on a full disk, what could not be written fails here once more."""
        try:
            if self._file is not None:
                with full_disk_named(self.path):
                    self._file.close()
        finally:
            self._lock.release()

    def add(self, reply: Reply) -> None:
        """Keep a reply: on disk when this returns."""
        self.replies[reply.index] = reply
        record = asdict(reply)
        self._write({**record, CHECK: _checksum(record)})

    def _write(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None, "the journal is written inside `with`"
        with full_disk_named(self.path):
            self._file.write(_line(record) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _read(self) -> int:
        """Fill `replies`; returns the bytes of whole lines."""
        if not self.path.exists():
            return 0
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines()):
            if number == 0:
                self._check_head(line)
            elif (reply := _parse(line)) is not None:
                self.replies[reply.index] = reply
        return whole

    def _check_head(self, line: bytes) -> None:
        try:
            head = current_keys(json.loads(line)["head"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise JournalError(f"{self.path}: not a journal of ours; move it away, or give another --out") from error
        differing = [k for k in sorted({*head, *self._head}) if head.get(k) != self._head.get(k)]
        if differing:
            labels = "; ".join(f"{k}: {head.get(k)!r} there, {self._head.get(k)!r} now" for k in differing)
            raise JournalError(f"{self.path}: holds another evaluation's answers ({labels}). Give another --out")


def _line(record: Mapping[str, Any]) -> bytes:
    """One line, whatever text is in it."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _checksum(record: Mapping[str, Any]) -> int:
    return zlib.crc32(_line(record))


def _parse(line: bytes) -> Reply | None:
    """A reply, or None for a line that a crash has spoilt, that was edited, or whose values are not a reply's."""
    try:
        record = json.loads(line)
        check = record.pop(CHECK, None)
        if check is not None and check != _checksum(record):
            return None
        reply = Reply(**record)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return reply if _is_sound(reply) else None


def _is_sound(reply: Reply) -> bool:
    """Whether each value is of its field's type and none is below 0."""
    for field in fields(Reply):
        value = getattr(reply, field.name)
        if isinstance(field.default, str) or field.name == "status":
            sound = type(value) is str
        else:
            sound = type(value) is int and value >= 0
        if not sound:
            return False
    return reply.status in get_args(Status)
