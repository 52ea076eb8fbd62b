"""Decode ahead of training: many videos, several processes, resumable at any point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from verl_vsi.data_adapters.frames.decoders.base import FrameError
from verl_vsi.data_adapters.frames.store import FrameStore
from verl_vsi.data_adapters.untrusted_text import visible

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
    store: FrameStore,
    videos: Iterable[Path],
    workers: int = 1,
    progress: Callable[[VideoOutcome], None] = lambda _: None,
) -> BuildReport:
    """Make sure of every video's array; what is there and whole is left alone, so an interrupted build goes on.

    Args:
        store: where they go.
        videos: files or folders of images.
        workers: videos at once; as many as the store was opened for.
        progress: called with each outcome as it comes.

    Raises:
        OSError: the store can't be written (a full disk); what is built stays.
        ChildProcessError: a worker was killed, most likely for memory.
    """
    report = BuildReport()
    for outcome in _outcomes(store, videos, workers):
        report.outcomes.append(outcome)
        progress(outcome)
    return report


def find_videos(root: Path, store: Path) -> list[Path]:
    """Every video file of a data root.

    Args:
        root: the data root.
        store: the frame store's folder, which is passed over.
    """
    videos = (
        p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and not p.is_dir()
    )
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
        return VideoOutcome(video, "missing", f"{visible(str(video))}: {state}")
    except FrameError as error:
        return VideoOutcome(video, "failed", str(error))


def _outcomes(store: FrameStore, videos: Iterable[Path], workers: int) -> Iterator[VideoOutcome]:
    """In threads: each waits for a worker process of the store, where all the work is done."""
    queue = iter(videos)
    with ThreadPoolExecutor(workers) as threads:
        try:
            running = {threads.submit(outcome_of, store, v, decode=True) for v in islice(queue, 2 * workers)}
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                more = islice(queue, len(finished))
                running |= {threads.submit(outcome_of, store, v, decode=True) for v in more}
                yield from (future.result() for future in finished)
        except BaseException:  # an interrupt, a full disk, or nobody takes further outcomes
            threads.shutdown(wait=False, cancel_futures=True)
            store.stop()
            raise
