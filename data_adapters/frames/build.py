"""Decode ahead of training: many videos, several processes, resumable at any point."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from verl_vsi.data_adapters.frames.decoders.base import FrameError
from verl_vsi.data_adapters.frames.store import FrameStore
from verl_vsi.data_adapters.work import end_with_parent

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")
Status = Literal["built", "found", "missing", "failed"]


@dataclass(frozen=True)
class VideoOutcome:
    """What became of one video."""

    video: Path
    status: Status
    error: str = ""


@dataclass
class BuildReport:
    """What became of all of them, in order of completion."""

    outcomes: list[VideoOutcome] = field(default_factory=list)

    def count(self, status: Status) -> int:
        """How many ended so."""
        return sum(o.status == status for o in self.outcomes)

    @property
    def failures(self) -> list[VideoOutcome]:
        """Those that could not be decoded, by name."""
        return sorted((o for o in self.outcomes if o.status == "failed"), key=lambda o: o.video)


def build(
    open_store: Callable[[], FrameStore],
    videos: Iterable[Path],
    workers: int | None = None,
    progress: Callable[[VideoOutcome], None] = lambda _: None,
) -> BuildReport:
    """Make sure of every video's array; what is there and whole is left alone, so an interrupted build goes on.

    Args:
        open_store: makes the store in each process; picklable.
        videos: files or folders of images.
        workers: processes; None: one a core.
        progress: called with each outcome as it comes.

    Raises:
        OSError: the store can't be written (a full disk); what is built stays.
    """
    report = BuildReport()
    for outcome in _outcomes(open_store, videos, workers or os.cpu_count() or 1):
        report.outcomes.append(outcome)
        progress(outcome)
    return report


def find_videos(root: Path, store: Path) -> list[Path]:
    """Every video file of a data root.

    Args:
        root: the data root.
        store: the frame store's folder, which is passed over.
    """
    videos = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in videos if not p.is_relative_to(store))


def outcome_of(store: FrameStore, video: Path, *, decode: bool) -> VideoOutcome:
    """Whether a video's array is there and whole; what becomes of it where it is not.

    Args:
        store: where it lies.
        video: file or folder of images.
        decode: build it; else only see whether the video can be read by the container's own account.
    """
    try:
        if store.intact(video):
            return VideoOutcome(video, "found")
        if decode:
            store.frames(video)
            return VideoOutcome(video, "built")
        store.info(video)
        state = "its array is damaged, a build makes it again" if store.has(video) else "no frames yet"
        return VideoOutcome(video, "missing", f"{video}: {state}")
    except FrameError as error:
        return VideoOutcome(video, "failed", str(error))


def _outcomes(open_store: Callable[[], FrameStore], videos: Iterable[Path], workers: int) -> Iterator[VideoOutcome]:
    if workers == 1:
        store = open_store()
        yield from (outcome_of(store, video, decode=True) for video in videos)
        return
    # spawn: a forked child would inherit torch's and FFmpeg's threads in an unknown state
    with ProcessPoolExecutor(workers, get_context("spawn"), _enter, (open_store,)) as pool:
        queue = iter(videos)
        running: set[Future[VideoOutcome]] = {pool.submit(_work, v) for v in islice(queue, 2 * workers)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(_work, v) for v in islice(queue, len(finished))}
                yield from (future.result() for future in finished)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_store: FrameStore | None = None


def _enter(open_store: Callable[[], FrameStore]) -> None:
    """Start a worker: one thread for arithmetic, because the videos are what runs in parallel.

    Ctrl-C reaches the whole group of processes; workers finish the video at hand and the builder stops them.
    """
    global _store
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    _store = open_store()


def _work(video: Path) -> VideoOutcome:
    assert _store is not None
    return outcome_of(_store, video, decode=True)
