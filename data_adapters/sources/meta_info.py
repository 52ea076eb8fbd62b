"""Scenes from a meta-info JSON in the form that VSI-Bench's authors give for ScanNet, ScanNet++ and ARKitScenes.

One object: scene name -> {dataset, video_path, room_size, object_counts: category -> n, object_bbox: category ->
[{centroid, axesLengths (full sides, m), normalizedAxes (9 numbers, rows are the box's axes), min, max}]}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from verl_vsi.data_adapters.files import relative
from verl_vsi.data_adapters.scenes import Array, Box, Scene
from verl_vsi.data_adapters.sources.rejected import Rejected

_FIELDS = ("room_size", "object_counts", "object_bbox")


def read_meta_info(path: str | Path, dataset: str | None = None) -> Iterator[Scene | Rejected]:
    """The file's scenes in its order.

    Args:
        path: the JSON file.
        dataset: for files that do not say it: ``scannet``, ``scannetpp`` or ``arkitscenes``.

    Raises:
        ValueError: the file is not an object of scenes.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); a meta-info file maps scene names to records") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{path}: expected one object of scene name -> record, found {type(content).__name__}")
    for name, record in content.items():
        yield _scene(name, record, dataset)


def _scene(name: str, record: Mapping[str, Any], dataset: str | None) -> Scene | Rejected:
    missing = [f for f in _FIELDS if f not in record]
    family = str(record.get("dataset") or dataset or "")
    if missing or not family:
        return Rejected(name, "incomplete record", f"field '{(missing or ['dataset'])[0]}' is missing")
    try:
        boxes = tuple(_box(c, b) for c, found in record["object_bbox"].items() for b in found)
        size = record["room_size"]
        if size is not None and not 0 < float(size) < float("inf"):
            raise ValueError(f"room_size must be positive m2, got {size}")
        video = relative(f"{family}/{name}.mp4", name)
    except (KeyError, TypeError, ValueError) as error:
        return Rejected(name, "broken record", f"{type(error).__name__}: {error}")
    counts = {c: int(n) for c, n in record["object_counts"].items()}
    return Scene(name, family, video, None if size is None else float(size), boxes, counts)


def _box(category: str, record: Mapping[str, Any]) -> Box:
    axes = np.asarray(record["normalizedAxes"], dtype=np.float64).reshape(3, 3)
    return Box(category, _triple(record["centroid"]), _triple(record["axesLengths"]), axes)


def _triple(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)
