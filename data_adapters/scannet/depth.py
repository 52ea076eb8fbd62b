"""Which frames of a ScanNet video show which boxes, from the depth pictures and camera poses of its ``.sens`` stream.

A depth pixel is a point in the room; an object is seen where enough of them lie in its box. What stands before it takes
its pixels away, so that no mesh and no ray casting is needed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.questions.support import sampled_numbers
from verl_vsi.data_adapters.scannet.scan_files import ALIGNMENT, read_alignment
from verl_vsi.data_adapters.scannet.scans import scan_folders
from verl_vsi.data_adapters.scannet.sens import SensHeader, keep, packed_frames, read_header
from verl_vsi.data_adapters.scannet.videos import BENCHMARK_RATE
from verl_vsi.data_adapters.schema import Array, Box, Rejected, Scene
from verl_vsi.data_adapters.untrusted_text import visible as visible_text
from verl_vsi.data_adapters.visibility import LEAST_SHARE, Visibility
from verl_vsi.data_adapters.work import Line, Worklog, in_processes

PADDING = 0.02
"""Metres by which a point may lie beside its box: the sensor's noise."""
STRIDE = 2
"""Every second row and column of a depth picture is looked at."""


class DepthFrame(NamedTuple):
    """One frame's number in the stream, its pose, (4, 4) camera to world, and depth, (H, W) metres, 0 where unknown."""

    number: int
    pose: Array
    depth: NDArray[np.float32]


def video_frames(path: Path, rate: float) -> list[int]:
    """Numbers in the stream of the frames that `data videos` makes a video of.

    Args:
        path: the ``.sens`` file.
        rate: the video's frames a second.
    """
    with path.open("rb") as file:
        count = read_header(file, str(path)).frames
    return [number for number in range(count) if keep(number, rate)]


def visibility(path: Path, boxes: Sequence[Box], alignment: Array, numbers: Iterable[int], rate: float) -> Visibility:
    """What chosen frames of a scan's video show.

    Args:
        path: the ``.sens`` file.
        boxes: of the scene, in the aligned frame.
        alignment: (4, 4) from the scan's own frame to the aligned one.
        numbers: of frames of the video.
        rate: the video's frames a second.

    Raises:
        ValueError: the stream is damaged, or has depth of another compression than raw and zlib.
    """
    stream = video_frames(path, rate)
    judged = tuple(sorted(set(numbers)))
    places = {stream[number]: number for number in judged}
    shown: list[set[int]] = [set() for _ in boxes]
    for frame, header in depth_frames(path, places.keys()):
        points, looked_at = _points(frame, header, alignment), frame.depth[::STRIDE, ::STRIDE].size
        for box, its_frames in zip(boxes, shown, strict=True):
            if _inside(points, box).sum() >= LEAST_SHARE * looked_at:
                its_frames.add(places[frame.number])
    return Visibility(len(stream), rate, judged, tuple(map(frozenset, shown)))


def depth_frames(path: Path, wanted: Iterable[int]) -> Iterator[tuple[DepthFrame, SensHeader]]:
    """Depth pictures of a stream.

    Args:
        path: the ``.sens`` file.
        wanted: numbers of frames.

    Raises:
        ValueError: as of `visibility`.
    """
    for number, header, pose, picture in packed_frames(path, frozenset(wanted)):
        where = f"{path}: depth of frame {number}"
        size = 2 * header.depth_width * header.depth_height
        if header.depth_compression == "zlib":
            try:
                picture = zlib.decompressobj().decompress(picture, size + 1)
            except zlib.error as error:
                raise ValueError(f"{where}: damaged ({error}); download it again") from error
        if len(picture) != size:
            raise ValueError(f"{where} has {len(picture)} bytes, where {size} belong; download it again")
        millimetres = np.frombuffer(picture, "<u2").reshape(header.depth_height, header.depth_width)
        yield DepthFrame(number, pose, (millimetres / header.depth_shift).astype(np.float32)), header


def _points(frame: DepthFrame, header: SensHeader, alignment: Array) -> Array:
    """(n, 3) points of a frame's looked-at pixels in the aligned frame; unknown ones are left out.

    A frame whose pose was lost (ScanNet writes infinities) has none.
    """
    if not np.isfinite(frame.pose).all():
        return np.empty((0, 3))
    depth = frame.depth[::STRIDE, ::STRIDE].astype(np.float64)
    rows, columns = np.nonzero(depth > 0)
    z = depth[rows, columns]
    k = header.depth_intrinsics
    x = (columns * STRIDE - k[0, 2]) * z / k[0, 0]
    y = (rows * STRIDE - k[1, 2]) * z / k[1, 1]
    to_aligned = alignment @ frame.pose
    return np.stack([x, y, z], axis=1) @ to_aligned[:3, :3].T + to_aligned[:3, 3]


def _inside(points: Array, box: Box) -> NDArray[np.bool_]:
    """Which of (n, 3) points lie in a box."""
    return (np.abs((points - box.centroid) @ box.axes.T) <= box.extents / 2 + PADDING).all(axis=1)


def with_visibility(
    scenes: Sequence[Scene], scannet: Path, choices: Sequence[FrameSpec], log: Path, *, workers: int = 2
) -> Iterator[Scene | Rejected]:
    """Scenes with what the chosen frames of their videos show; those whose stream can't be read are rejected.

    Args:
        scenes: of `scans.read_scans`.
        scannet: the download, with ``<scan>/<scan>.sens``.
        choices: of frames.
        log: a ``*.visible.jsonl`` that keeps what was read, so that an interrupted call goes on.
        workers: processes.
    """
    folders = {folder.name: folder for folder in scan_folders(scannet)}
    asked = [spec.choice for spec in choices]
    with Worklog(log, lambda line: line.get("choices") == asked and "visible" in line) as done:
        todo = [scene for scene in scenes if scene.id not in done.lines]
        lines = in_processes(partial(_line, folders, tuple(choices)), todo, workers)
        for line in track(lines, "depth", len(todo), disable=not todo):
            done.add(line | {"choices": asked})
        done.finish([scene.id for scene in scenes])
    for scene in scenes:
        line = done.lines[scene.id]
        if "visible" in line:
            yield replace(scene, visible=Visibility.from_json(line["visible"], len(scene.boxes)))
        else:
            yield Rejected(scene.id, "no depth stream", line["problem"])


def _line(folders: Mapping[str, Path], choices: Sequence[FrameSpec], scene: Scene) -> Line:
    folder = folders[scene.id]
    stream = folder / f"{scene.id}.sens"
    if not stream.is_file():
        return {"id": scene.id, "problem": f"{stream}: no such file; download-scannet.py --id {scene.id} --type .sens"}
    try:
        count = len(video_frames(stream, BENCHMARK_RATE))
        numbers = {n for spec in choices for n in sampled_numbers(spec, count, BENCHMARK_RATE)}
        alignment = read_alignment(folder / f"{scene.id}{ALIGNMENT}")
        found = visibility(stream, scene.boxes, alignment, numbers, BENCHMARK_RATE)
    except ValueError as error:
        return {"id": scene.id, "problem": visible_text(str(error))}
    return {"id": scene.id, "visible": found.to_json()}
