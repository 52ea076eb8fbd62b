"""Rendered rooms: box-furnished scenes with exact 3D truth, a walking camera, real mp4 files. No download."""

from verl_vsi.data_adapters.synthetic_rooms.layout import CATEGORIES, Room
from verl_vsi.data_adapters.synthetic_rooms.render import FRAMES, RATE, SIDE, render
from verl_vsi.data_adapters.synthetic_rooms.splits import draw, labels, make_room, render_split

__all__ = ["CATEGORIES", "FRAMES", "RATE", "SIDE", "Room", "draw", "labels", "make_room", "render", "render_split"]
