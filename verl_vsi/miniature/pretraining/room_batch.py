"""The rooms that pretraining looks at: pictures, what every video token shows, and the truth, in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial

import av
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.data_adapters.synthetic_rooms import RATE, Room, draw, labels
from verl_vsi.data_adapters.work import in_processes

FEW = 32  # rooms that are drawn here, because processes take as long to start


@dataclass(frozen=True, eq=False)
class RoomBatch:
    """`N` rooms of one seed.

    Args:
        rooms: N records.
        frames: (N, 4, 112, 112, 3) uint8, as they come back from mp4.
        shows: (N, 32, 12) bool, which categories each video token shows.
    """

    rooms: tuple[Room, ...]
    frames: NDArray[np.uint8]
    shows: NDArray[np.bool_]


def draw_room_batch(seed: int, count: int, progress: Progress, workers: int = 2) -> RoomBatch:
    """Draw rooms 0 to `count` of the family `seed`, `workers` at a time; families never share a room."""
    page = partial(_page, seed)
    task = progress.add_task("draw rooms", total=count)
    pages = []
    for drawn in in_processes(page, range(count), workers, least=FEW):
        pages.append(drawn)
        progress.advance(task)
    rooms, frames, shows = zip(*pages, strict=True)
    return RoomBatch(rooms, np.stack(frames), np.stack(shows))


def _page(seed: int, index: int) -> tuple[Room, NDArray[np.uint8], NDArray[np.bool_]]:
    drawn = draw(seed, index)
    return drawn.room, _as_played(drawn.frames), labels(drawn.room, drawn.ids)


def _as_played(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames after mp4's compression, so that pretraining sees the colours that training will."""
    with av.open(io.BytesIO(encode_mp4(frames, RATE)), mode="r") as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(np.uint8, copy=False)
