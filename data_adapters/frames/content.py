"""What the store keeps of each video until its file changes: its checksum, or that it can't be decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.frames.decoders import image_folder
from verl_vsi.data_adapters.frames.decoders.base import FrameError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Signature:
    """What a stat says of a video: enough to notice a change, not to name content."""

    size: int
    mtime_ns: int


def signature(video: Path) -> Signature:
    """Size and latest change; a folder's are the sum and the latest of its files."""
    files = image_folder.images(video) if video.is_dir() else [video]
    stats = [f.stat() for f in files]
    own = video.stat().st_mtime_ns  # a folder's changes when a file comes or goes
    return Signature(sum(s.st_size for s in stats), max([own, *(s.st_mtime_ns for s in stats)]))


class _Records:
    """A folder of small JSON files, one a video, by the name that the store gives it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        return self._root / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"

    def write(self, name: str, record: dict[str, Any]) -> None:
        write_text(self.path(name), json.dumps({"video": name, **record}, indent=1))

    def read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads(self.path(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None


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
        name, current = self.name(video), signature(video)
        entry = self._memory.get(name) or self._load(name)
        if entry is None or entry[0] != current:
            return None
        self._memory[name] = entry
        return entry[1]

    def of(self, video: Path) -> str:
        """The checksum, reading the file when it is new or has changed."""
        if (checksum := self.known(video)) is not None:
            return checksum
        name, before = self.name(video), signature(video)
        checksum = sha256(video)
        self._records.write(name, {**vars(before), "sha256": checksum})
        self._memory[name] = (before, checksum)
        return checksum

    def _load(self, name: str) -> tuple[Signature, str] | None:
        try:
            record = self._records.read(name) or {}
            return Signature(record["size"], record["mtime_ns"]), record["sha256"]
        except (KeyError, TypeError):
            return None


def sha256(video: Path) -> str:
    """Of a file's bytes; of a folder's names and bytes in order, and its rate file."""
    digest = hashlib.sha256()
    if not video.is_dir():
        _feed(digest, video)
        return digest.hexdigest()
    for file in [*image_folder.images(video), *video.glob(image_folder.RATE_FILE)]:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        _feed(digest, file)
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, file: Path) -> None:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
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
            if self._active and video.exists():
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
        if not (self._active and video.exists()) or (record := self._records.read(name)) is None:
            return
        file = self._records.path(name)
        if {k: record.get(k) for k in ("size", "mtime_ns")} == vars(signature(video)):
            raise FrameError(video, f"in quarantine: {record['cause']}", f"replace the file, or delete {file} to retry")
        file.unlink(missing_ok=True)
