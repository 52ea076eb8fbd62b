"""A split of rendered rooms on disk: mp4 files and one line a scene, made in parallel and resumable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.progress import track

from verl_vsi.data_adapters.files import write_bytes
from verl_vsi.data_adapters.records import read_scenes, to_record
from verl_vsi.data_adapters.rooms.draw import draw
from verl_vsi.data_adapters.rooms.render import RATE
from verl_vsi.data_adapters.rooms.video import encode_mp4
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
    final = scenes_file(root, split)
    part = final.with_suffix(".part")
    done = _kept(Path(root), final) | _kept(Path(root), part)
    todo = [i for i in range(count) if _key(seed, i) not in done]
    final.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in done.values())
        for line in track(
            _made(Path(root), seed, todo, workers),
            description=f"rooms, {split}",
            total=len(todo),
            disable=quiet or not todo,
        ):
            done[line["id"]] = line
            file.write(json.dumps(line) + "\n")
            file.flush()
    lines = [json.dumps(done[_key(seed, i)]) + "\n" for i in range(count)]
    write_bytes(final, "".join(lines).encode())
    part.unlink()
    return tuple(read_scenes(final))


def _key(seed: int, index: int) -> str:
    return f"room_{seed}_{index:06d}"


def _made(root: Path, seed: int, todo: list[int], workers: int) -> Iterator[dict[str, Any]]:
    """Records of the rooms `todo`, in order, as they are written."""
    make = partial(_make, root, seed)
    if workers <= 1 or len(todo) <= CHUNK:
        yield from map(make, todo)
        return
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(make, todo, chunksize=CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)


def _make(root: Path, seed: int, index: int) -> dict[str, Any]:
    """Draw one room, write its video, and return its line: the scene, and how the video is known again."""
    drawn = draw(seed, index)
    scene = drawn.room.scene
    content = encode_mp4(drawn.frames, RATE)
    write_bytes(root / scene.video, content)
    return to_record(scene) | {"renderer": RENDERER, "sha256": hashlib.sha256(content).hexdigest()}


def _kept(root: Path, path: Path) -> dict[str, dict[str, Any]]:
    """Lines of a former run whose videos are on disk, unchanged; a line cut short is made again."""
    kept: dict[str, dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        video = root / line["video"]
        if line.get("renderer") == RENDERER and video.is_file() and _digest(video) == line["sha256"]:
            kept[line["id"]] = line
    return kept


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
