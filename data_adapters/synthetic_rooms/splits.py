"""Rooms by number, drawn until every object can be seen, and splits of them on disk.

A seed names a family of rooms, an index one of its rooms. A split is mp4 files and one line a scene, rendered in
parallel; an interrupted call goes on where it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from verl_vsi.data_adapters.files import write_bytes
from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.data_adapters.scene_files import read_scenes, to_record
from verl_vsi.data_adapters.schema import Scene
from verl_vsi.data_adapters.synthetic_rooms.layout import NAMES, Room, layout
from verl_vsi.data_adapters.synthetic_rooms.render import FRAMES, RATE, render
from verl_vsi.data_adapters.visibility import Visibility
from verl_vsi.data_adapters.work import Line, Worklog, in_processes

LEAST_PIXELS = 12
"""An object counts as seen in a frame that shows this many pixels of it."""

TOKEN_SIDE, TOKEN_FRAMES = 28, 2
"""What one merged Qwen2-VL video token covers: 2 frames of 2 x 2 patches of 14 pixels."""


class Drawn(NamedTuple):
    """A room with its frames, uint8 (4, 112, 112, 3), and object ids, int16 (4, 112, 112)."""

    room: Room
    frames: NDArray[np.uint8]
    ids: NDArray[np.int16]


def room_name(seed: int, index: int) -> str:
    """What a room is called: ``room_<seed>_<index>``.

    Args:
        seed: of the family.
        index: of the room in it.
    """
    return f"room_{seed}_{index:06d}"


def draw(seed: int, index: int) -> Drawn:
    """A room and its pictures; the same on every machine and in any order. Seeds never share a room.

    Args:
        seed: of the family.
        index: of the room in it.
    """
    rng = np.random.default_rng([seed, index])
    while True:
        room = layout(rng, room_name(seed, index))
        frames, ids = render(room)
        pixels = _pixels(room, ids)
        if (pixels.max(0) >= LEAST_PIXELS).all():
            room = replace(room, first_seen=_first_seen(room, pixels), visible=_visibility(pixels))
            return Drawn(room, frames, ids)


def make_room(seed: int, index: int) -> Room:
    """A room without its pictures.

    Args:
        seed: of the family.
        index: of the room in it.
    """
    return draw(seed, index).room


def labels(room: Room, ids: NDArray[np.int16], least: int = 8) -> NDArray[np.bool_]:
    """Which categories each video token shows, (32, 12): tokens in time, row, column order, categories as in `NAMES`.

    Args:
        room: the room that `ids` belongs to.
        ids: int16 (4, 112, 112) from `render`.
        least: pixels of a category that make it present in a token.
    """
    categories = np.where(ids >= 0, room.categories[ids], -1)
    side = ids.shape[1] // TOKEN_SIDE
    blocks = categories.reshape(FRAMES // TOKEN_FRAMES, TOKEN_FRAMES, side, TOKEN_SIDE, side, TOKEN_SIDE)
    tokens = blocks.transpose(0, 2, 4, 1, 3, 5).reshape(-1, TOKEN_FRAMES * TOKEN_SIDE**2)
    return np.stack([(tokens == c).sum(1) >= least for c in range(len(NAMES))], axis=1)


def _pixels(room: Room, ids: NDArray[np.int16]) -> NDArray[np.int64]:
    """(frames, objects) pixels that show each object."""
    n = len(room.categories)
    return np.stack([np.bincount(frame[frame >= 0], minlength=n) for frame in ids])


def _visibility(pixels: NDArray[np.int64]) -> Visibility:
    shown = (frozenset(np.flatnonzero(column).tolist()) for column in (pixels >= LEAST_PIXELS).T)
    return Visibility(len(pixels), RATE, tuple(range(len(pixels))), tuple(shown))


def _first_seen(room: Room, pixels: NDArray[np.int64]) -> dict[str, float]:
    seconds = (pixels >= LEAST_PIXELS).argmax(0) / RATE
    latest_first = sorted(zip(seconds, room.categories, strict=True), reverse=True)
    return {NAMES[c]: float(t) for t, c in latest_first}  # of a category with several objects the earliest stays


RENDERER = "rooms-1"
"""Raise this when rooms change: files of another renderer are made again."""

FEW = 16  # rooms that are drawn here, because processes take as long to start


def scenes_file(root: str | Path, split: str) -> Path:
    """``<root>/rooms/<split>.scenes.jsonl``.

    Args:
        root: the data root.
        split: its name, e.g. ``train``.
    """
    return Path(root) / "rooms" / f"{split}.scenes.jsonl"


def render_split(
    root: str | Path, split: str, count: int, seed: int, *, workers: int = 2, quiet: bool = False
) -> tuple[Scene, ...]:
    """Render rooms under the data root; rooms that are there already are kept.

    Give every split its own seed: rooms of different seeds are different. Writes ``rooms/<name>.mp4`` and, once all
    are done, ``rooms/<split>.scenes.jsonl``.

    Args:
        root: the data root.
        split: its name, e.g. ``train``.
        count: rooms, numbered from 0.
        seed: of the family.
        workers: processes.
        quiet: no progress bar.

    Returns:
        the scenes in order.
    """
    names = [room_name(seed, index) for index in range(count)]
    with Worklog(scenes_file(root, split), partial(_still_good, Path(root))) as log:
        todo = [index for index, name in enumerate(names) if name not in log.lines]
        lines = in_processes(partial(_render_one, Path(root), seed), todo, workers, least=FEW)
        for line in track(lines, f"rooms, {split}", len(todo), disable=quiet or not todo):
            log.add(line)
        log.finish(names)
    return tuple(scene for scene in read_scenes(log.path) if isinstance(scene, Scene))


def _render_one(root: Path, seed: int, index: int) -> Line:
    """Draw one room, write its video, and return its line: the scene, and how the video is known again."""
    drawn = draw(seed, index)
    scene = drawn.room.scene
    content = encode_mp4(drawn.frames, RATE)
    write_bytes(root / scene.video, content)
    return to_record(scene) | {"renderer": RENDERER, "sha256": _digest(content)}


def _still_good(root: Path, line: Line) -> bool:
    """Whether a former run's room has today's renderer and its video unchanged."""
    video = root / line["video"]
    return (
        line.get("renderer") == RENDERER
        and "visible" in line
        and video.is_file()
        and _digest(video.read_bytes()) == line["sha256"]
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
