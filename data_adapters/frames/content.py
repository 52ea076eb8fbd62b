"""A video's content checksum, found without reading the file again while its size and time stand still."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.frames.decoders import image_folder
from verl_vsi.data_adapters.frames.info import FrameError

# MERGED Videos that could not be decoded, remembered until their file changes.


class Quarantine:
    """A folder of small JSON files, one a video.

    Args:
        root: the folder.
        active: False: remember nothing and refuse nothing.
    """

    def __init__(self, root: Path, active: bool) -> None:  # noqa: D107
        self._root = root
        self._active = active

    def add(self, video: Path, name: str, error: FrameError) -> None:
        """Remember that `video`, called `name` in the store, failed with `error`."""
        if self._active and video.exists():
            record = {"video": name, "cause": error.cause, **vars(signature(video))}
            write_text(self._file(name), json.dumps(record, indent=1))

    def refuse(self, video: Path, name: str) -> None:
        """Stop at a video that is remembered; forget it if its file has changed since.

        Raises:
            FrameError: it is remembered; says why and how to retry.
        """
        file = self._file(name)
        if not (self._active and file.exists() and video.exists()):
            return
        record = json.loads(file.read_text(encoding="utf-8"))
        if {k: record.get(k) for k in ("size", "mtime_ns")} == vars(signature(video)):
            raise FrameError(video, f"in quarantine: {record['cause']}", f"replace the file, or delete {file} to retry")
        file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._root / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


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


class Checksums:
    """Path and signature -> sha256 of the content, remembered in a folder of small JSON files and in this process."""

    def __init__(self, root: Path, base: Path) -> None:
        """Remember under `root`; videos under `base` are known by their path relative to it."""
        self._root = root
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
        if (found := self.known(video)) is not None:
            return found
        name, before = self.name(video), signature(video)
        digest = sha256(video)
        record = {"video": name, "size": before.size, "mtime_ns": before.mtime_ns, "sha256": digest}
        write_text(self._file(name), json.dumps(record, indent=1))
        self._memory[name] = (before, digest)
        return digest

    def _load(self, name: str) -> tuple[Signature, str] | None:
        try:
            record = json.loads(self._file(name).read_text(encoding="utf-8"))
            return Signature(record["size"], record["mtime_ns"]), record["sha256"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _file(self, name: str) -> Path:
        return self._root / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


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
