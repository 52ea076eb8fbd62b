"""The store: a video's frames are decoded by one process, once, and mapped by all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Literal

from filelock import FileLock, Timeout

from verl_vsi.data_adapters.frames import arrays
from verl_vsi.data_adapters.frames.content import Checksums, Quarantine
from verl_vsi.data_adapters.frames.decoders import reader_for
from verl_vsi.data_adapters.frames.decoders.base import CountMismatchError, Deadline, FrameError
from verl_vsi.data_adapters.frames.info import FrameInfo, Frames, frame_info
from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.lru import LRUCache
from verl_vsi.data_adapters.versions import versions

OnError = Literal["raise", "skip", "quarantine"]
ON_ERROR = ("raise", "skip", "quarantine")
PACKAGES = ("verl-vsi", "av", "torch")
"""Whose versions an array's index entry keeps."""
HANDLES = 256
"""Arrays kept mapped by a process; mapped pages cost memory only while they are read."""


class FrameStore:
    """Frames by video, made on demand.

    Layout: ``<root>/<spec>/<sha256 of the video>.npy`` and ``.json``; ``<root>/videos/`` remembers checksums,
    ``<root>/quarantine/`` what can't be decoded. Deleting any of it is safe: it is made again.

    Args:
        root: the store's folder.
        spec: which frames, how large.
        on_error: ``quarantine`` remembers a broken video until its file changes; a broken video always raises
            FrameError here, and callers (the builder, the dataset) leave it out for ``skip`` and ``quarantine``.
        timeout: seconds that decoding one video may take.
        data_root: videos below it are known by their path relative to it; None: `root`'s parent.
    """

    def __init__(  # noqa: D107
        self,
        root: Path,
        spec: FrameSpec,
        on_error: OnError = "raise",
        timeout: float = 60.0,
        data_root: Path | None = None,
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"vsi.frames.on_error: '{on_error}' is unknown, choose one of {', '.join(ON_ERROR)}")
        self.root = Path(root).absolute()
        self.spec = spec
        self.on_error: OnError = on_error
        self.timeout = timeout
        self._checksums = Checksums(self.root / "videos", Path(data_root or self.root.parent).absolute())
        self._quarantine = Quarantine(self.root / "quarantine" / spec.key, on_error == "quarantine")
        self._mapped: LRUCache[str, Frames] = LRUCache(HANDLES)
        self._turns: dict[Path, Lock] = {}
        self._lock = Lock()

    def frames(self, video: Path) -> Frames:
        """The frames of `video`, from the store, or decoded now while other processes wait.

        Raises:
            FrameError: it can't be decoded; named, with the cause and the way out.
            OSError: the store can't be written.
        """
        video = Path(video).absolute()
        with self._turn(video):  # rollouts of one prompt ask at once: the first reads, the others find
            key = self._key(video)
            with self._lock:
                frames = self._mapped.get(key)
            if frames is None:
                frames = arrays.read(self._path(key)) or self._make(video, key)
                with self._lock:
                    self._mapped.put(key, frames)
            return frames

    def info(self, video: Path) -> FrameInfo:
        """Grid, tokens and the rest without touching a pixel: from the index, else from the video's container.

        Raises:
            FrameError: it is no video, cut short by its own account, or in quarantine.
        """
        video = Path(video).absolute()
        if (info := self._known_info(video)) is not None:
            return info
        name = self._checksums.name(video)
        self._quarantine.refuse(video, name)
        with self._quarantine.remember_failure(video, name):
            return self._describe(video)

    def has(self, video: Path) -> bool:
        """Whether the index knows frames for `video` as it is now; reads neither video nor array."""
        return self._known_info(Path(video).absolute()) is not None

    def intact(self, video: Path) -> bool:
        """Whether its array is there and its checksum holds; reads the array."""
        video = Path(video).absolute()
        key = self._checksums.known(video) if video.exists() else None
        return key is not None and arrays.read(self._path(key)) is not None

    def _known_info(self, video: Path) -> FrameInfo | None:
        if not video.exists() or (key := self._checksums.known(video)) is None:
            return None
        path = self._path(key)
        entry = arrays.read_info(path)
        return entry[0] if entry and path.with_suffix(".npy").exists() else None

    def _key(self, video: Path) -> str:
        if not video.exists() or (key := self._checksums.known(video)) is None:
            name = self._checksums.name(video)
            self._quarantine.refuse(video, name)
            with self._quarantine.remember_failure(video, name):
                reader_for(video, self.spec.decoder)
            key = self._checksums.of(video)
        return key

    def _path(self, key: str) -> Path:
        return self.root / self.spec.key / key

    def _turn(self, video: Path) -> Lock:
        with self._lock:
            return self._turns.setdefault(video, Lock())

    def _make(self, video: Path, key: str) -> Frames:
        """Decode under a lock that dies with its process; whoever waited finds the array."""
        self._quarantine.refuse(video, self._checksums.name(video))
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path.with_suffix(".lock"), timeout=2 * self.timeout):
                if (frames := arrays.read(path)) is None:
                    self._sweep(path)
                    self._build(video, path)
                    frames = arrays.read(path)
        except Timeout as error:
            cause = f"another process has held {path.with_suffix('.lock')} for over {2 * self.timeout:g} s"
            raise FrameError(video, cause, "see what that process does, or raise vsi.frames.timeout") from error
        if frames is None:
            raise OSError(f"{path}.npy does not read back as it was written: the disk under {self.root} is at fault")
        return frames

    def _build(self, video: Path, path: Path) -> None:
        try:
            with self._quarantine.remember_failure(video, self._checksums.name(video)):
                self._decode(video, path)
        except OSError as error:
            hint = "free some space, or set vsi.frames.store to another disk"
            raise OSError(error.errno, f"{error.strerror}, writing {path}.npy for '{video}'; {hint}") from error

    def _decode(self, video: Path, path: Path) -> None:
        reader, deadline = reader_for(video, self.spec.decoder), Deadline.after(self.timeout)
        source = {"source": self._checksums.name(video), "sha256": path.name, "versions": versions(PACKAGES)}
        meta = self._describe(video)
        try:
            arrays.write(path, meta, reader.pick(video, meta.indices, deadline), source)
        except CountMismatchError as mismatch:
            # The container's index counted packets that show no picture: sample again by the true count.
            if not mismatch.actual:
                raise FrameError(video, "no frame of it can be decoded") from mismatch
            meta = self._describe(video, mismatch.actual)
            arrays.write(path, meta, reader.pick(video, meta.indices, deadline), source)

    def _describe(self, video: Path, total: int | None = None) -> FrameInfo:
        clip = reader_for(video, self.spec.decoder).probe(video)
        if total is not None:
            clip = replace(clip, total=total)
        try:
            return frame_info(self.spec, clip)
        except ValueError as error:
            raise FrameError(video, str(error)) from error

    def _sweep(self, path: Path) -> None:
        """Remove what a killed builder left of this array; the lock is held, so nobody is writing it."""
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink(missing_ok=True)
