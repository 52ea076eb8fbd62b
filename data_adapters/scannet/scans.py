"""Scenes from ScanNet as its download script lays it out.

Scans are read in parallel, and what is read is kept, so that an interrupted call goes on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from verl_vsi.data_adapters.scannet.scan_files import (
    ALIGNMENT,
    FILES,
    INSTANCES,
    MESH,
    SEGMENTS,
    missing_files,
    read_alignment,
    read_labels,
    read_objects,
    read_points,
    read_segments,
    vertices_of,
)
from verl_vsi.data_adapters.scannet.shapes import floor_area, minimal_box
from verl_vsi.data_adapters.scene_files import from_record, to_record
from verl_vsi.data_adapters.schema import Array, Box, Rejected, Scene
from verl_vsi.data_adapters.untrusted_text import visible
from verl_vsi.data_adapters.work import Line, Worklog, in_processes

LEAST_POINTS = 20
"""An instance of fewer mesh vertices is counted, but gets no box."""

READER = "scannet-2"
"""Raise this when scans are read differently: kept scenes of another reader are read again."""


def scan_folders(root: str | Path) -> list[Path]:
    """Folders of scans under ``root/scans`` or `root`, by name.

    Raises:
        FileNotFoundError: there is none.
    """
    root = Path(root)
    base = root / "scans" if (root / "scans").is_dir() else root
    folders = sorted(p for p in base.glob("scene????_??") if p.is_dir())
    if not folders:
        raise FileNotFoundError(
            f"{base}: no folder like scene0000_00; give the folder that download-scannet.py wrote to"
        )
    return folders


def read_scans(
    folders: list[Path], labels: Path, scenes_file: Path, *, workers: int = 2, quiet: bool = False
) -> Iterator[Scene | Rejected]:
    """Scenes in the order of `folders`.

    Args:
        folders: from `scan_folders`.
        labels: the label map.
        scenes_file: a ``*.scenes.jsonl`` that keeps what was read; scans whose files and label map are unchanged
            are taken from it.
        workers: processes.
        quiet: no progress bar.
    """
    rejected: dict[str, Rejected] = {}
    names = read_labels(labels)
    by_name = {folder.name: folder for folder in folders}
    went_in = partial(_stamp, labels=hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest())
    with Worklog(scenes_file, partial(_still_good, by_name, went_in)) as log:
        todo = [folder for folder in folders if folder.name not in log.lines]
        scenes = in_processes(partial(read_scan, labels=names), todo, workers)
        for folder, scene in zip(todo, track(scenes, "scans", len(todo), disable=quiet or not todo), strict=True):
            if isinstance(scene, Rejected):
                rejected[folder.name] = scene
            else:
                log.add(to_record(scene) | {"reader": READER, "stamp": went_in(folder)})
        log.finish([name for name in by_name if name in log.lines])
    for name in by_name:
        yield rejected.get(name) or from_record(log.lines[name], str(scenes_file))


def _stamp(folder: Path, labels: str) -> list[Any]:
    """All that goes into a scene: size and times of the scan's files, and the label map's checksum."""
    stats = [(folder / f"{folder.name}{end}").stat() for end in FILES]
    return [[s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in stats] + [labels]


def _still_good(folders: dict[str, Path], went_in: Callable[[Path], list[Any]], line: Line) -> bool:
    """Whether a kept scene was read by this reader, with this label map, from the files as they are."""
    folder = folders.get(line["id"])
    try:
        return folder is not None and line.get("reader") == READER and line.get("stamp") == went_in(folder)
    except FileNotFoundError:
        return False


def read_scan(folder: str | Path, labels: Mapping[str, str]) -> Scene | Rejected:
    """One scan's boxes and floor area, in its axis-aligned frame.

    Args:
        folder: ``scans/scene0000_00``, as downloaded.
        labels: from `read_labels`.
    """
    folder = Path(folder)
    name = folder.name
    missing = missing_files(folder)
    if missing:
        return Rejected(name, "missing files", f"{', '.join(missing)}; fetch with download-scannet.py --id {name}")
    try:
        points = read_points(folder / f"{name}{MESH}", read_alignment(folder / f"{name}{ALIGNMENT}"))
        segments = read_segments(folder / f"{name}{SEGMENTS}", len(points))
        objects = read_objects(folder / f"{name}{INSTANCES}", labels)
        size = floor_area(points)
        members = vertices_of(segments)
        boxes = [_box(category, points[members(ids)]) for category, ids in objects]
    except ImportError:
        raise
    except Exception as error:  # mesh and geometry libraries raise what they like over foreign bytes
        return Rejected(name, "broken scan", visible(f"{type(error).__name__}: {error}"[:500]))
    counts = Counter(category for category, _ in objects)
    return Scene(name, "scannet", f"scannet/{name}.mp4", size, tuple(b for b in boxes if b), counts)


def _box(category: str, points: Array) -> Box | None:
    if len(points) < LEAST_POINTS:
        return None
    return Box(category, *minimal_box(points), center=points.mean(0))
