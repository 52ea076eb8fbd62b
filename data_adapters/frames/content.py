"""What the store keeps of each video until its file changes: its checksum, or that it can't be decoded."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.frames.decoders import image_folder
from verl_vsi.data_adapters.frames.decoders.base import Deadline, FrameError, regular_file

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Signature:
    """What a stat says of a video: enough to notice a change, not to name content.

    Args:
        size: bytes.
        mtime_ns: of the latest change of content, by the clock that whoever wrote it chose.
        ctime_ns: of the latest change of anything, by the system's clock: an equal size and time do not hide a change.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


def signature(video: Path) -> Signature:
    """Size and latest changes; a folder's are the sum and the latest of its files.

    Raises:
        OSError: there is no such video, or it can't be looked at.
    """
    files = [*image_folder.images(video), *video.glob(image_folder.RATE_FILE)] if video.is_dir() else [video]
    stats = [f.stat() for f in files]
    own = video.stat()  # a folder's times change when a file comes or goes
    latest = [max(getattr(s, name) for s in (own, *stats)) for name in ("st_mtime_ns", "st_ctime_ns")]
    return Signature(sum(s.st_size for s in stats), *latest)


class _Records:
    """A folder of small JSON files, one a video, by the name that the store gives it.

    They save work and are never needed: where they can't be written (a store of someone else's), none is.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        return self._root / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json"

    def write(self, name: str, record: dict[str, Any]) -> None:
        with suppress(OSError):
            write_text(self.path(name), json.dumps({"video": name, **record}, indent=1))

    def read(self, name: str) -> dict[str, Any]:
        """What is known; empty where nothing is, or the file is damaged."""
        try:
            record = json.loads(self.path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}

    def forget(self, name: str) -> None:
        with suppress(OSError):
            self.path(name).unlink()


class Checksums:
    """Path and signature -> sha256 of the content, remembered on disk and in this process.

    Args:
        root: folder of the records.
        base: videos under it are known by their path relative to it.
    """

    def __init__(self, root: Path, base: Path) -> None:  # noqa: D107
        self._records = _Records(root)
        self._base = base
        self._memory: dict[str, tuple[Signature, str]] = {}

    def name(self, video: Path) -> str:
        """How the store speaks of a video: relative to the data root where it lies inside."""
        return video.relative_to(self._base).as_posix() if video.is_relative_to(self._base) else video.as_posix()

    def known(self, video: Path) -> str | None:
        """The checksum, if the file has not changed since it was read; None: it was never read or has changed."""
        try:
            name, current = self.name(video), signature(video)
        except OSError:
            return None
        entry = self._memory.get(name) or self._load(name)
        if entry is None or entry[0] != current:
            return None
        self._memory[name] = entry
        return entry[1]

    def touched(self, video: Path) -> bool:
        """Whether it was read once, and is as large as then, at another time: its content may well be the same."""
        with suppress(OSError):
            return self._records.read(self.name(video)).get("size") == signature(video).size
        return False

    def remember(self, video: Path, state: Signature, checksum: str) -> None:
        """Keep what was read.

        Args:
            video: the file or folder.
            state: its signature when it was read.
            checksum: of its content.
        """
        name = self.name(video)
        self._records.write(name, {**vars(state), "sha256": checksum})
        self._memory[name] = (state, checksum)

    def _load(self, name: str) -> tuple[Signature, str] | None:
        record = self._records.read(name)
        try:
            state = Signature(record["size"], record["mtime_ns"], record["ctime_ns"])
            return (state, record["sha256"]) if re.fullmatch("[0-9a-f]{64}", record["sha256"]) else None
        except (KeyError, TypeError):
            return None


def sha256(video: Path, deadline: Deadline) -> str:
    """Of a file's bytes; of a folder's names and bytes in order, and its rate file.

    Args:
        video: the file or folder.
        deadline: when to give up.

    Raises:
        FrameError: time is up, or a file can't be read.
    """
    digest = hashlib.sha256()
    if not video.is_dir():
        _feed(digest, video, "it", deadline)
        return digest.hexdigest()
    for file in [*image_folder.images(video), *video.glob(image_folder.RATE_FILE)]:
        digest.update(os.fsencode(f"{file.name}\0{file.stat().st_size}\0"))
        _feed(digest, video, file.name, deadline)
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, video: Path, name: str, deadline: Deadline) -> None:
    with regular_file(video, name) as stream:
        while chunk := stream.read(_CHUNK):
            deadline.check(video)
            digest.update(chunk)


class Quarantine:
    """Videos that could not be decoded.

    Args:
        root: folder of the records.
        active: False: remember nothing and refuse nothing.
    """

    def __init__(self, root: Path, active: bool) -> None:  # noqa: D107
        self._records = _Records(root)
        self._active = active

    @contextmanager
    def remember_failure(self, video: Path, name: str) -> Iterator[None]:
        """Remember the video if the block fails at it; the error goes on.

        Args:
            video: the file or folder.
            name: what the store calls it.
        """
        try:
            yield
        except FrameError as error:
            with suppress(OSError):  # it is not there
                if self._active:
                    self._records.write(name, {"cause": error.cause, **vars(signature(video))})
            raise

    def refuse(self, video: Path, name: str) -> None:
        """Stop at a video that is remembered; forget it if its file has changed since.

        Args:
            video: the file or folder.
            name: what the store calls it.

        Raises:
            FrameError: it is remembered; says why and how to retry.
        """
        record = self._records.read(name) if self._active else {}
        if "cause" not in record:
            return
        with suppress(OSError):
            if {k: record.get(k) for k in ("size", "mtime_ns", "ctime_ns")} == vars(signature(video)):
                way_out = f"replace the file, or delete {self._records.path(name)} to retry"
                raise FrameError(video, f"in quarantine: {record['cause']}", way_out)
        self._records.forget(name)
