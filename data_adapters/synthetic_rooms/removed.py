"""Rooms without some of their objects: the same room, camera and light, rendered anew, so that nothing else differs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from verl_vsi.data_adapters.files import inside, write_bytes
from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.data_adapters.synthetic_rooms.layout import NAMES
from verl_vsi.data_adapters.synthetic_rooms.render import RATE, render
from verl_vsi.data_adapters.synthetic_rooms.splits import make_room

_NAME = re.compile(r"room_(\d+)_(\d{6,})")


def removed_video(room: str, categories: Iterable[str]) -> str:
    """Path, relative to the data root, of the video of a room without some of its objects.

    Args:
        room: its name.
        categories: what is removed.
    """
    digest = hashlib.sha256(", ".join(sorted(set(categories))).encode()).hexdigest()[:12]
    return f"rooms/without/{room}-{digest}.mp4"


def render_without(root: Path, room: str, categories: Iterable[str]) -> Path:
    """Render a room without every object of some categories, where it is not there yet.

    Args:
        root: the data root.
        room: its name, ``room_<seed>_<index>``.
        categories: what is removed.

    Raises:
        ValueError: the name is no rendered room's.
    """
    name = _NAME.fullmatch(room)
    if name is None:
        raise ValueError(f"'{room}' is no rendered room (room_<seed>_<index>), so it can't be rendered without objects")
    path = inside(root, removed_video(room, categories))
    if not path.is_file():
        whole = make_room(int(name[1]), int(name[2]))
        kept = ~np.isin(whole.categories, [NAMES.index(c) for c in set(categories) if c in NAMES])
        left = replace(whole, categories=whole.categories[kept], low=whole.low[kept], high=whole.high[kept])
        write_bytes(path, encode_mp4(render(left)[0], RATE))
    return path
