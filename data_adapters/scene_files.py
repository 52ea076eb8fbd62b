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

from verl_vsi.data_adapters.files import atomic_path, relative
from verl_vsi.data_adapters.json_files import Unreadable, json_lines, read_document
from verl_vsi.data_adapters.schema import Array, Box, Rejected, Scene
from verl_vsi.data_adapters.visibility import Visibility

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
        **({} if scene.visible is None else {"visible": scene.visible.to_json()}),
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
        return Scene(
            record["id"],
            record["dataset"],
            relative(record["video"], where),
            record["room_size"],
            boxes,
            record["counts"],
            record.get("first_seen") or {},
            Visibility.from_json(record["visible"], len(boxes)) if record.get("visible") else None,
        )
    except _BROKEN as error:
        raise ValueError(f"{where}, scene {record['id']!r:.80}: {_said(error)}") from error


_BROKEN = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What records of wrong types lead to."""


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


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


def read_scenes(path: str | Path) -> Iterator[Scene | Rejected]:
    """Read a ``*.scenes.jsonl``, one scene at a time, and a `Rejected` in place of each line that is no scene.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged as a whole (see `json_files.json_lines`).
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; verl-vsi data rooms and data build write *.scenes.jsonl")
    for where, record in json_lines(Path(path)):
        try:
            if isinstance(record, Unreadable):
                raise ValueError(f"{where}: {record.reason}")
            scene: Scene | Rejected = from_record(record, where)
        except ValueError as error:
            scene = Rejected(where, "broken record", str(error))
        yield scene


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
    content = read_document(Path(path))
    if not isinstance(content, dict) or not any(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{path}: expected one object of scene name -> record, found {type(content).__name__}")
    for name, record in content.items():
        try:
            yield _meta_info_scene(name, record, dataset)
        except _BROKEN as error:
            yield Rejected(name, "broken record", f"{path}: {_said(error)}")


def _meta_info_scene(name: str, record: Mapping[str, Any], dataset: str | None) -> Scene | Rejected:
    missing = [f for f in _META_INFO_FIELDS if f not in record]
    family = str(record.get("dataset") or dataset or "")
    if missing or not family:
        return Rejected(name, "incomplete record", f"field '{(missing or ['dataset'])[0]}' is missing")
    boxes = tuple(_meta_info_box(c, b) for c, records in record["object_bbox"].items() for b in records)
    size = record["room_size"]
    video = relative(f"{family}/{name}.mp4", name)
    return Scene(name, family, video, None if size is None else float(size), boxes, dict(record["object_counts"]))


def _meta_info_box(category: str, record: Mapping[str, Any]) -> Box:
    axes = _array(record["normalizedAxes"]).reshape(3, 3)
    return Box(category, _array(record["centroid"]), _array(record["axesLengths"]), axes)
