"""A split of rendered rooms on disk: mp4 files and one line a scene, made in parallel and resumable."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from rich.progress import track

from verl_vsi.data_adapters.files import write_bytes
from verl_vsi.data_adapters.journal import Journal, Line
from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.data_adapters.parallel import in_processes
from verl_vsi.data_adapters.records import read_scenes, to_record
from verl_vsi.data_adapters.rooms.draw import draw, room_name
from verl_vsi.data_adapters.rooms.render import RATE
from verl_vsi.data_adapters.scenes import Scene

RENDERER = "rooms-1"
"""Raise this when rooms change: files of another renderer are made again."""

CHUNK = 16  # rooms that one process takes at a time


def scenes_file(root: str | Path, split: str) -> Path:
    """``<root>/rooms/<split>.scenes.jsonl``."""
    return Path(root) / "rooms" / f"{split}.scenes.jsonl"


def render_split(
    root: str | Path, split: str, count: int, seed: int, *, workers: int = 2, quiet: bool = False
) -> tuple[Scene, ...]:
    """Render `count` rooms of the family `seed` under `root`; rooms that are there already are kept.

    Give every split its own seed: rooms of different seeds are different. Writes ``rooms/<name>.mp4`` and, once all
    are done, ``rooms/<split>.scenes.jsonl``; an interrupted call goes on where it was.

    Returns:
        the scenes in order.
    """
    names = [room_name(seed, index) for index in range(count)]
    with Journal(scenes_file(root, split), partial(_still_good, Path(root))) as journal:
        todo = [index for index, name in enumerate(names) if name not in journal.lines]
        made = in_processes(partial(_make, Path(root), seed), todo, workers, CHUNK)
        for line in track(made, f"rooms, {split}", len(todo), disable=quiet or not todo):
            journal.add(line)
        journal.finish(names)
    return tuple(read_scenes(journal.path))


def _make(root: Path, seed: int, index: int) -> Line:
    """Draw one room, write its video, and return its line: the scene, and how the video is known again."""
    drawn = draw(seed, index)
    scene = drawn.room.scene
    content = encode_mp4(drawn.frames, RATE)
    write_bytes(root / scene.video, content)
    return to_record(scene) | {"renderer": RENDERER, "sha256": _digest(content)}


def _still_good(root: Path, line: Line) -> bool:
    """Whether a former run's room has today's renderer and its video unchanged."""
    video = root / line["video"]
    return line.get("renderer") == RENDERER and video.is_file() and _digest(video.read_bytes()) == line["sha256"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
