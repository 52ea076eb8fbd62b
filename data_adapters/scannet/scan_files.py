"""A ScanNet scan's files: which there are, and what each holds, read with limits and without following what it names.

Format: github.com/ScanNet/ScanNet, "Data Organization" and "Data Formats".
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from verl_vsi.data_adapters.scannet.shapes import library
from verl_vsi.data_adapters.schema import Array

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

LARGEST_FILE = 1 << 30
"""Bytes of one file of a scan; ScanNet's largest meshes have a tenth."""

MOST_INSTANCES = 10_000
"""Annotated instances of one scan; ScanNet's have a few hundred at most."""


def label_map(root: str | Path) -> Path:
    """``scannetv2-labels.combined.tsv`` in the download's folder."""
    return Path(root) / LABELS


def missing_files(folder: Path) -> list[str]:
    """Official names of a scan's files that are not there or are empty."""
    paths = [folder / f"{folder.name}{end}" for end in FILES]
    return [_state(p) for p in paths if _state(p) != "whole"]


def missing_pictures(folder: Path) -> list[str]:
    """The stream that a scan's video is made from, if neither it nor a folder ``color`` is there."""
    stream = folder / f"{folder.name}.sens"
    return [] if _state(stream) == "whole" or (folder / "color").is_dir() else [_state(stream)]


def _state(path: Path) -> str:
    """``whole``, or the file's name with what is wrong with it."""
    if not path.is_file():
        return path.name
    return "whole" if path.stat().st_size else f"{path.name} (empty)"


def read_labels(path: str | Path) -> dict[str, str]:
    """Annotators' label -> category, from ``scannetv2-labels.combined.tsv``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks the columns.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no label map; download-scannet.py --label_map fetches it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            columns, rows = reader.fieldnames or [], list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not the label map, which is UTF-8 text with tabs ({error})") from error
    if not {"raw_category", "category"} <= set(columns):
        raise ValueError(f"{path}: columns raw_category and category are wanted, found {', '.join(columns)}"[:500])
    return {row["raw_category"]: row["category"] or "" for row in rows}


def read_points(path: Path, alignment: Array) -> Array:
    """(n, 3) mesh vertices in the aligned frame, metres.

    Args:
        path: the mesh.
        alignment: (4, 4), from `read_alignment`.

    Raises:
        ValueError: there are no vertices, or some are not finite.
    """
    with _opened(path) as file:  # bytes, not a path: the library would open textures that a mesh names
        mesh = library("trimesh").load(io.BytesIO(file.read()), file_type="ply", process=False)
    points = np.asarray(mesh.vertices, dtype=np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise ValueError(f"{path.name}: {len(points)} vertices, not all of them finite; download the file again")
    return points @ alignment[:3, :3].T + alignment[:3, 3]


def _opened(path: Path) -> BinaryIO:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(
            f"{path.name}: {path.stat().st_size} bytes, more than the {LARGEST_FILE} that a scan's file has"
        )
    return path.open("rb")


def _json(path: Path) -> Any:
    with _opened(path) as file:
        return json.loads(file.read().decode("utf-8-sig"))


def read_alignment(path: Path) -> Array:
    """(4, 4) transform from the ``axisAlignment`` line; the identity where there is none, as in test scans."""
    with _opened(path) as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "axisAlignment":
            matrix = np.array(value.split(), dtype=np.float64).reshape(4, 4)
            if not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-2):  # not a number included
                raise ValueError(f"{path.name}: axisAlignment is no rotation: {matrix[:3, :3].tolist()}")
            return matrix
    return np.eye(4)


def read_segments(path: Path, points: int) -> np.ndarray:
    """(n,) the segment of each vertex.

    Args:
        path: the over-segmentation.
        points: vertices of the mesh.

    Raises:
        ValueError: it is of another mesh, or damaged.
    """
    segments = np.asarray(_json(path)["segIndices"])
    if segments.shape != (points,):
        raise ValueError(f"{path.name}: {len(segments)} segment indices for {points} vertices of the mesh")
    if not np.issubdtype(segments.dtype, np.integer):
        raise ValueError(f"{path.name}: segment indices must be whole numbers, got {segments.dtype}")
    return segments


def vertices_of(segments: np.ndarray) -> Callable[[list[int]], np.ndarray]:
    """A function from segments to the vertices in them, whose work grows with what it gives, not with the scan."""
    order = np.argsort(segments, kind="stable")
    ids, starts = np.unique(segments[order], return_index=True)
    vertices = dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True))
    nothing = np.empty(0, np.int64)
    return lambda chosen: np.sort(np.concatenate([nothing, *(vertices.get(i, nothing) for i in sorted(set(chosen)))]))


def read_objects(path: Path, labels: Mapping[str, str]) -> list[tuple[str, list[int]]]:
    """Category and segments of each instance; what is no object is left out.

    Args:
        path: the aggregation.
        labels: from `read_labels`.

    Raises:
        ValueError: it has too many instances, or segments that are no numbers.
    """
    groups = _json(path)["segGroups"]
    if len(groups) > MOST_INSTANCES:
        raise ValueError(f"{path.name}: {len(groups)} instances, more than the {MOST_INSTANCES} that are read")
    if not all(isinstance(i, int) for g in groups for i in g["segments"]):
        raise ValueError(f"{path.name}: segments of an instance must be whole numbers")
    instances = ((labels.get(g["label"], g["label"]).strip(), g["segments"]) for g in groups)
    return [(category, ids) for category, ids in instances if category and category not in NOT_OBJECTS]
