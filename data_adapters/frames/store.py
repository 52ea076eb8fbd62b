"""The store: a video's frames are decoded by one process, once, and mapped by all others."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Literal

from filelock import FileLock, Timeout

from verl_vsi.data_adapters.frames import arrays
from verl_vsi.data_adapters.frames.content import Checksums, Quarantine, Signature, signature
from verl_vsi.data_adapters.frames.decode import (
    DEFAULT_LIMITS,
    ArrayOrder,
    ReadVideo,
    VideoLimits,
    VideoWorkers,
    decode,
    describe,
    look_into,
    read_video,
)
from verl_vsi.data_adapters.frames.decoders import image_folder, reader_for
from verl_vsi.data_adapters.frames.decoders.base import Clip, FrameError, named_errors
from verl_vsi.data_adapters.frames.info import FrameInfo, Frames
from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.lru import LRUCache
from verl_vsi.data_adapters.versions import versions

OnError = Literal["raise", "skip", "quarantine"]
ON_ERROR = ("raise", "skip", "quarantine")
PACKAGES = ("verl-vsi", "av", "torch")
"""Whose versions an array's index entry keeps."""
HANDLES = 256
"""Arrays kept mapped by a process; mapped pages cost memory only while they are read."""
WORKERS = 4
"""Videos that one process of a training has decoded at once, where a builder has not done so before."""


class FrameStore:
    """Frames by video, made on demand, in worker processes that have limits.

    Layout: ``<root>/<spec>/<sha256 of the video>.npy`` and ``.json``; ``<root>/videos/`` remembers checksums,
    ``<root>/quarantine/`` what can't be decoded. Deleting any of it is safe: it is made again. A store that holds
    what is asked for need not be writable.

    Args:
        root: the store's folder.
        spec: which frames, how large.
        on_error: ``quarantine`` remembers a broken video until its file changes; a broken video always raises
            FrameError here, and callers (the builder, the dataset) leave it out for ``skip`` and ``quarantine``.
        limits: seconds and memory that one video may take.
        data_root: videos below it are known by their path relative to it, and must not be links that leave it;
            None: `root`'s parent.
        workers: videos that are decoded at once.
    """

    def __init__(  # noqa: D107
        self,
        root: Path,
        spec: FrameSpec,
        on_error: OnError = "raise",
        limits: VideoLimits = DEFAULT_LIMITS,
        data_root: Path | None = None,
        workers: int = WORKERS,
    ) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"vsi.frames.on_error: '{on_error}' is unknown, choose one of {', '.join(ON_ERROR)}")
        self.root = Path(root).absolute()
        self.spec = spec
        self.on_error: OnError = on_error
        self.limits = limits
        self._base = Path(data_root or self.root.parent).absolute()
        self._checksums = Checksums(self.root / "videos", self._base)
        self._quarantine = Quarantine(self.root / "quarantine" / spec.key, on_error == "quarantine")
        self._workers = VideoWorkers(workers, limits)
        self.stop = self._workers.stop
        self._mapped: LRUCache[str, Frames] = LRUCache(HANDLES)
        self._read: dict[Path, ReadVideo] = {}  # until they are decoded
        self._turns: dict[Path, Lock] = {}
        self._lock = Lock()

    def frames(self, video: Path) -> Frames:
        """The frames of `video`, from the store, or decoded now while other processes wait.

        Raises:
            FrameError: it can't be decoded; named, with the cause and the way out.
            OSError: the store can't be written.
        """
        video = self._place(video)
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
        """Grid, tokens and the rest without decoding: from the index, else from the video's container.

        Raises:
            FrameError: it is no video, cut short by its own account, or in quarantine.
        """
        video = self._place(video)
        if (info := self._known_info(video)) is not None:
            return info
        name = self._checksums.name(video)
        self._quarantine.refuse(video, name)
        with self._quarantine.remember_failure(video, name):
            reader_for(video, self.spec.decoder)
            return describe(video, self.spec, self._look_into(video))

    def has(self, video: Path) -> bool:
        """Whether the index knows frames for `video` as it is now; a video that was only touched is read for it.

        Raises:
            FrameError: it is a link that leaves the data root.
        """
        return self._known_info(self._place(video)) is not None

    def intact(self, video: Path) -> bool:
        """Whether its array is there and its checksum holds; reads the array.

        Raises:
            FrameError: it is a link that leaves the data root.
        """
        key = self._known_key(self._place(video))
        return key is not None and arrays.read(self._path(key)) is not None

    def _place(self, video: Path) -> Path:
        """Its absolute path, which leads nowhere else."""
        video = Path(video).absolute()
        with named_errors(video):
            parts = [p for p in image_folder.images(video) if p.is_symlink()] if video.is_dir() else []
            for part in (video, *parts):
                if video.is_relative_to(self._base) and not part.resolve().is_relative_to(self._base.resolve()):
                    what = "it is" if part == video else f"its file {part.name} is"
                    way_out = "mount or copy it under the data root (vsi.root)"
                    raise FrameError(video, f"{what} a link that leaves the data root {self._base}", way_out)
        return video

    def _known_info(self, video: Path) -> FrameInfo | None:
        if (key := self._known_key(video)) is None:
            return None
        path = self._path(key)
        entry = arrays.read_info(path)
        return entry[0] if entry and path.with_suffix(".npy").exists() else None

    def _known_key(self, video: Path) -> str | None:
        """The checksum of a video that was read before; one that was touched since is read again."""
        if (key := self._checksums.known(video)) is None and self._checksums.touched(video):
            with suppress(FrameError):  # whoever asks for its frames is told
                key = self._key(video)
        return key

    def _key(self, video: Path) -> str:
        if (key := self._checksums.known(video)) is not None:
            return key
        name = self._checksums.name(video)
        self._quarantine.refuse(video, name)
        with self._quarantine.remember_failure(video, name):
            reader_for(video, self.spec.decoder)
            whole = self._workers.call(read_video, video, self.spec.decoder)
        self._checksums.remember(video, whole.state, whole.checksum)
        self._read[video] = whole
        return whole.checksum

    def _path(self, key: str) -> Path:
        return self.root / self.spec.key / key

    def _turn(self, video: Path) -> Lock:
        with self._lock:
            return self._turns.setdefault(video, Lock())

    def _make(self, video: Path, key: str) -> Frames:
        """Decode under a lock that dies with its process; whoever waited finds the array."""
        self._quarantine.refuse(video, self._checksums.name(video))
        path, patience = self._path(key), 2 * self.limits.seconds
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock"), timeout=patience):
                if (frames := arrays.read(path)) is None:
                    self._sweep(path)
                    self._build(video, path)
                    frames = arrays.read(path)
        except Timeout as error:
            cause = f"another process has held {path.with_suffix('.lock')} for over {patience:g} s"
            raise FrameError(video, cause, "see what that process does, or raise vsi.frames.timeout") from error
        except ChildProcessError:
            raise
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}, writing {path}.npy for '{video}'; {_hint(error)}") from error
        if frames is None:
            raise OSError(f"{path}.npy does not read back as it was written: the disk under {self.root} is at fault")
        return frames

    def _build(self, video: Path, path: Path) -> None:
        with self._quarantine.remember_failure(video, self._checksums.name(video)):
            self._decode(video, path)

    def _decode(self, video: Path, path: Path) -> None:
        with named_errors(video):
            state = self._state(video, path.name)
        fresh = self._read.pop(video, None)
        clip = fresh.clip if fresh and fresh.state == state else self._look_into(video)
        describe(video, self.spec, clip)  # it can be sampled and resized so
        source = {"source": self._checksums.name(video), "sha256": path.name, "versions": versions(PACKAGES)}
        order = ArrayOrder(self.spec, path, clip, state, source)
        self._workers.call(decode, video, order, imports=order.imports)

    def _look_into(self, video: Path) -> Clip:
        return self._workers.call(look_into, video, self.spec.decoder)

    def _state(self, video: Path, key: str) -> Signature:
        """The signature that belongs to `key`: a file that was replaced since must not take the old content's name."""
        state = signature(video)
        if self._checksums.known(video) != key:
            raise FrameError(video, "it was replaced while it was read", "wait until it is whole, and try again")
        return state

    def _sweep(self, path: Path) -> None:
        """Remove what a killed builder left of this array; the lock is held, so nobody is writing it."""
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink(missing_ok=True)


def _hint(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"user {os.getuid()} may not write there: build the frames as its owner, or set vsi.frames.store"
    return "free some space, or set vsi.frames.store to another disk"
