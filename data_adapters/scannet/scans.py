"""Scenes from ScanNet as its download script lays it out: mesh, segments, instances, axis alignment, label map.

Scans are read in parallel, and what is read is kept, so that an interrupted call goes on.
Format: github.com/ScanNet/ScanNet, "Data Organization" and "Data Formats".
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from verl_vsi.data_adapters.processes import in_processes
from verl_vsi.data_adapters.scannet.shapes import floor_area, library, minimal_box
from verl_vsi.data_adapters.scene_files import from_record, to_record
from verl_vsi.data_adapters.schema import Array, Box, Rejected, Scene
from verl_vsi.data_adapters.work import Line, Worklog

MESH, SEGMENTS, INSTANCES, ALIGNMENT = (
    "_vh_clean_2.ply",
    "_vh_clean_2.0.010000.segs.json",
    ".aggregation.json",
    ".txt",
)
FILES = (MESH, SEGMENTS, INSTANCES, ALIGNMENT)
"""Ends of the official file names that a scan needs."""

LABELS = "scannetv2-labels.combined.tsv"
"""The label map, beside the folder of scans."""

NOT_OBJECTS = frozenset({"wall", "floor", "ceiling", "object", "unknown", "remove", "unannotated"})
"""Categories that no question can be about."""

LEAST_POINTS = 20
"""An instance of fewer mesh vertices is counted, but gets no box."""

READER = "scannet-1"
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


def label_map(root: str | Path) -> Path:
    """``scannetv2-labels.combined.tsv`` in the download's folder."""
    return Path(root) / LABELS


def missing_files(folder: Path) -> list[str]:
    """Official names of a scan's files that are not there."""
    names = [f"{folder.name}{end}" for end in FILES]
    return [n for n in names if not (folder / n).is_file()]


def read_labels(path: str | Path) -> dict[str, str]:
    """Annotators' label -> category, from ``scannetv2-labels.combined.tsv``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks the columns.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no label map; download-scannet.py --label_map fetches it")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = reader.fieldnames or []
        if not {"raw_category", "category"} <= set(columns):
            raise ValueError(f"{path}: columns raw_category and category are wanted, found {', '.join(columns)}")
        return {row["raw_category"]: row["category"] for row in reader}


def read_scans(
    folders: list[Path], labels: Path, scenes_file: Path, *, workers: int = 2, quiet: bool = False
) -> Iterator[Scene | Rejected]:
    """Scenes in the order of `folders`.

    Args:
        folders: from `scan_folders`.
        labels: the label map.
        scenes_file: a ``*.scenes.jsonl`` that keeps what was read; scans whose files are unchanged are taken from it.
        workers: processes.
        quiet: no progress bar.
    """
    rejected: dict[str, Rejected] = {}
    names = read_labels(labels)
    by_name = {folder.name: folder for folder in folders}
    with Worklog(scenes_file, partial(_still_good, by_name)) as log:
        todo = [folder for folder in folders if folder.name not in log.lines]
        scenes = in_processes(partial(read_scan, labels=names), todo, workers)
        for folder, scene in zip(todo, track(scenes, "scans", len(todo), disable=quiet or not todo), strict=True):
            if isinstance(scene, Rejected):
                rejected[folder.name] = scene
            else:
                log.add(to_record(scene) | {"reader": READER, "stamp": _stamp(folder)})
        log.finish([name for name in by_name if name in log.lines])
    for name in by_name:
        yield rejected.get(name) or from_record(log.lines[name], str(scenes_file))


def _stamp(folder: Path) -> list[list[int]]:
    """Size and time of a scan's files."""
    stats = [(folder / f"{folder.name}{end}").stat() for end in FILES]
    return [[s.st_size, s.st_mtime_ns] for s in stats]


def _still_good(folders: dict[str, Path], line: Line) -> bool:
    folder = folders.get(line["id"])
    try:
        return folder is not None and line.get("reader") == READER and line["stamp"] == _stamp(folder)
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
        points = _points(folder / f"{name}{MESH}", _alignment(folder / f"{name}{ALIGNMENT}"))
        segments = _segments(folder / f"{name}{SEGMENTS}", len(points))
        objects = _objects(folder / f"{name}{INSTANCES}", labels)
        size = floor_area(points)
        boxes = [_box(category, points[np.isin(segments, ids)]) for category, ids in objects]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return Rejected(name, "broken scan", f"{type(error).__name__}: {error}")
    counts = Counter(category for category, _ in objects)
    return Scene(name, "scannet", f"scannet/{name}.mp4", size, tuple(b for b in boxes if b), counts)


def _points(path: Path, alignment: Array) -> Array:
    """(n, 3) mesh vertices in the aligned frame, metres."""
    mesh = library("trimesh").load(path, process=False)
    points = np.asarray(mesh.vertices, dtype=np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise ValueError(f"{path.name}: {len(points)} vertices, not all of them finite; download the file again")
    return points @ alignment[:3, :3].T + alignment[:3, 3]


def _alignment(path: Path) -> Array:
    """(4, 4) transform from the ``axisAlignment`` line; the identity where there is none, as in test scans."""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "axisAlignment":
            return np.array(value.split(), dtype=np.float64).reshape(4, 4)
    return np.eye(4)


def _segments(path: Path, points: int) -> np.ndarray:
    """(n,) the segment of each vertex."""
    segments = np.asarray(json.loads(path.read_text(encoding="utf-8"))["segIndices"])
    if len(segments) != points:
        raise ValueError(f"{path.name}: {len(segments)} segment indices for {points} vertices of the mesh")
    return segments


def _objects(path: Path, labels: Mapping[str, str]) -> list[tuple[str, list[int]]]:
    """Category and segments of each instance; what is no object is left out."""
    groups = json.loads(path.read_text(encoding="utf-8"))["segGroups"]
    instances = ((labels.get(g["label"], g["label"]).strip(), g["segments"]) for g in groups)
    return [(category, ids) for category, ids in instances if category and category not in NOT_OBJECTS]


def _box(category: str, points: Array) -> Box | None:
    if len(points) < LEAST_POINTS:
        return None
    return Box(category, *minimal_box(points), center=points.mean(0))
