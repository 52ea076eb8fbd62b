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
        token_categories: (N, 32, 12) bool, which categories each video token shows.
    """

    rooms: tuple[Room, ...]
    frames: NDArray[np.uint8]
    token_categories: NDArray[np.bool_]


def draw_room_batch(seed: int, count: int, progress: Progress, workers: int = 2) -> RoomBatch:
    """Draw the first rooms of a family; families never share a room.

    Args:
        seed: of the family.
        count: how many.
        progress: where it is shown.
        workers: processes that draw.
    """
    task = progress.add_task("draw rooms", total=count)
    samples = []
    for sample in in_processes(partial(_draw_one, seed), range(count), workers, least=FEW):
        samples.append(sample)
        progress.advance(task)
    rooms, frames, token_categories = zip(*samples, strict=True)
    return RoomBatch(rooms, np.stack(frames), np.stack(token_categories))


def _draw_one(seed: int, index: int) -> tuple[Room, NDArray[np.uint8], NDArray[np.bool_]]:
    drawing = draw(seed, index)
    return drawing.room, _through_mp4(drawing.frames), labels(drawing.room, drawing.ids)


def _through_mp4(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames after mp4's compression, so that pretraining sees the colours that training will."""
    with av.open(io.BytesIO(encode_mp4(frames, RATE)), mode="r") as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(np.uint8, copy=False)
