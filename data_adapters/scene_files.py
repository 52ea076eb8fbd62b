"""Scenes in files: ours, one JSON line a scene, and the meta-info JSON of VSI-Bench's authors.

Every source can be saved as lines (``*.scenes.jsonl``) and read back to the same numbers. The authors publish one
object for each of ScanNet, ScanNet++ and ARKitScenes: scene name -> {dataset, video_path, room_size, object_counts:
category -> n, object_bbox: category -> [{centroid, axesLengths (full sides, m), normalizedAxes (9 numbers, rows are
the box's axes), min, max}]}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from verl_vsi.data_adapters.files import atomic_path, read_json_lines, relative
from verl_vsi.data_adapters.schema import Array, Box, Rejected, Scene

_FIELDS = ("id", "dataset", "video", "room_size", "boxes", "counts")


def to_record(scene: Scene) -> dict[str, Any]:
    """The scene as JSON types; `from_record` gives the very same numbers back."""
    return {
        "id": scene.id,
        "dataset": scene.dataset,
        "video": scene.video,
        "room_size": scene.room_size,
        "boxes": [_box_record(b) for b in scene.boxes],
        "counts": dict(scene.counts),
        "first_seen": dict(scene.first_seen),
    }


def from_record(record: dict[str, Any], where: str = "scene record") -> Scene:
    """The scene of `to_record`.

    Args:
        record: one line's value.
        where: start of the message.

    Raises:
        ValueError: a field is missing or wrong; the message starts with `where`.
    """
    missing = [name for name in _FIELDS if name not in record]
    if missing:
        raise ValueError(f"{where}: field '{missing[0]}' is missing; a scene has {', '.join(_FIELDS)}")
    try:
        boxes = tuple(
            Box(b["category"], _array(b["centroid"]), _array(b["extents"]), _array(b["axes"]), _optional(b, "center"))
            for b in record["boxes"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}, scene '{record['id']}': {error}") from error
    return Scene(
        record["id"],
        record["dataset"],
        relative(record["video"], where),
        record["room_size"],
        boxes,
        record["counts"],
        record.get("first_seen", {}),
    )


def write_scenes(path: str | Path, scenes: Iterable[Scene]) -> int:
    """Write one scene a line; return how many.

    Args:
        path: ``*.scenes.jsonl``, written whole or not at all.
        scenes: taken one at a time.
    """
    count = 0
    with atomic_path(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        for scene in scenes:
            file.write(json.dumps(to_record(scene)) + "\n")
            count += 1
    return count


def read_scenes(path: str | Path) -> Iterator[Scene]:
    """Read a ``*.scenes.jsonl``, one scene at a time.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a scene; the message names file and line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; verl-vsi data rooms and data build write *.scenes.jsonl")
    for where, record in read_json_lines(Path(path)):
        yield from_record(record, where)


def _box_record(box: Box) -> dict[str, Any]:
    lengths = {"centroid": box.centroid, "extents": box.extents} | (
        {} if box.center is None else {"center": box.center}
    )
    return {
        "category": box.category,
        "axes": box.axes.tolist(),
        **{name: value.tolist() for name, value in lengths.items()},
    }


def _array(value: Any) -> Array:
    return np.asarray(value, dtype=np.float64)


def _optional(record: dict[str, Any], name: str) -> Array | None:
    return _array(record[name]) if record.get(name) is not None else None


_META_INFO_FIELDS = ("room_size", "object_counts", "object_bbox")


def read_meta_info(path: str | Path, dataset: str | None = None) -> Iterator[Scene | Rejected]:
    """The scenes of a meta-info file, in its order.

    Args:
        path: the JSON file.
        dataset: for files that do not say it: ``scannet``, ``scannetpp`` or ``arkitscenes``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an object of scenes.
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
        yield _meta_info_scene(name, record, dataset)


def _meta_info_scene(name: str, record: Mapping[str, Any], dataset: str | None) -> Scene | Rejected:
    missing = [f for f in _META_INFO_FIELDS if f not in record]
    family = str(record.get("dataset") or dataset or "")
    if missing or not family:
        return Rejected(name, "incomplete record", f"field '{(missing or ['dataset'])[0]}' is missing")
    try:
        boxes = tuple(_meta_info_box(c, b) for c, records in record["object_bbox"].items() for b in records)
        size = record["room_size"]
        if size is not None and not 0 < float(size) < float("inf"):
            raise ValueError(f"room_size must be positive m2, got {size}")
        video = relative(f"{family}/{name}.mp4", name)
    except (KeyError, TypeError, ValueError) as error:
        return Rejected(name, "broken record", f"{type(error).__name__}: {error}")
    counts = {c: int(n) for c, n in record["object_counts"].items()}
    return Scene(name, family, video, None if size is None else float(size), boxes, counts)


def _meta_info_box(category: str, record: Mapping[str, Any]) -> Box:
    axes = _array(record["normalizedAxes"]).reshape(3, 3)
    return Box(category, _array(record["centroid"]), _array(record["axesLengths"]), axes)
