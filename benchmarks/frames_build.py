"""Building frames of 200 videos: videos a second, and which share of the work is the decoder's own.

    python benchmarks/frames_build.py [--videos 200] [--frames 120]

The decoder's own time is FFmpeg decoding every frame of the same files through PyAV, nothing else; the build adds
checksums, colour conversion and resizing of 16 frames, writing, and the start of its processes. The share is one of
processor time with one process, so that a busy machine does not blur it; videos a second are by the wall clock, with a
process a core.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import torch
import video_samples as samples
from benchmark_results import report

from verl_vsi.data_adapters.frames import FrameSpec, FrameStore
from verl_vsi.data_adapters.frames.build import build


def decode_only(videos: list[Path]) -> float:
    """Processor seconds to decode every frame, one file after the other."""
    start = time.process_time()
    for video in videos:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for _ in container.decode(stream):
                pass
    return time.process_time() - start


def timed_build(root: Path, store: str, videos: list[Path], workers: int, clock: Callable[[], float]) -> float:
    """Seconds of a build, start of its processes included.

    Args:
        root: the data root.
        store: name of the folder to build into.
        videos: to decode.
        workers: processes.
        clock: by which it is timed.
    """
    opened = FrameStore(root / store, FrameSpec.from_config(samples.FRAMES), data_root=root, workers=workers)
    start = clock()
    report = build(opened, videos, workers)
    opened.stop()  # whose processor time counts when they have ended
    assert report.count("built") == len(videos), report.failures[:3]
    return clock() - start


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--frames", type=int, default=120)
    args = parser.parse_args()
    torch.set_num_threads(1)  # as in a builder's processes
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = samples.write_clips(root / "clips", distinct=10, frames=args.frames, names=args.videos)
        videos = [root / name for name in names]
        decoder = decode_only(videos)
        alone = timed_build(root, "one", videos, 1, processor_seconds)
        together = timed_build(root, "several", videos, workers, time.perf_counter)
    report(
        "frames_build",
        {
            "what": "frames of many videos",
            "videos": args.videos,
            "clip": f"{args.frames} frames of 640x480, H.264; 16 are taken, at most 128*28*28 pixels",
            "decoder_only_cpu_seconds": round(decoder, 1),
            "build_one_process_cpu_seconds": round(alone, 1),
            "decoder_share": round(decoder / alone, 2),
            "processes": workers,
            "build_seconds": round(together, 1),
            "videos_per_second": round(args.videos / together, 1),
        },
        samples.PACKAGES,
    )


if __name__ == "__main__":
    main()
