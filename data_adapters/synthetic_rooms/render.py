"""Ray casting of box-furnished rooms: exact per-pixel visibility from a camera that walks along one wall."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.schema import Array
from verl_vsi.data_adapters.synthetic_rooms.layout import CATEGORIES, CEILING, Room

FRAMES = 4
SIDE = 112
"""Width and height of a frame, pixels."""
RATE = 4
"""Frames a second."""
FIELD_OF_VIEW = 95.0  # degrees
FOCAL = SIDE / 2 / np.tan(np.radians(FIELD_OF_VIEW / 2))  # pixels

FLOOR, SIDE_WALL, FAR_WALL, ROOF = (122, 116, 104), (160, 158, 150), (92, 96, 104), (196, 196, 196)
SURFACES = np.array([SIDE_WALL, FAR_WALL, FLOOR, ROOF], np.float32)
COLORS = np.array([c.color for c in CATEGORIES.values()], np.float32)
SHADES = np.array([0.82, 0.66, 1.0], np.float32)  # light on faces across x, y and z

Image = NDArray[np.float32]
_SPAN = ((np.arange(SIDE) + 0.5 - SIDE / 2) / FOCAL).astype(np.float32)
_U, _V = np.meshgrid(_SPAN, -_SPAN)


class Camera(NamedTuple):
    """Where the camera is, (3,) metres, and its rows right, up, forward, (3, 3)."""

    origin: Array
    axes: Array


def cameras(room: Room) -> list[Camera]:
    """`FRAMES` places along the wall at y = 0, all looking at the middle of the floor."""
    width, depth = room.size
    target = np.array([width / 2, depth / 2, -0.1])
    return [_look(np.array([0.3 + (width - 0.6) * t, 0.25, 2.35]), target) for t in np.linspace(0, 1, FRAMES)]


def _look(origin: Array, target: Array) -> Camera:
    forward = (target - origin) / np.linalg.norm(target - origin)
    right = np.array([forward[1], -forward[0], 0.0])
    right /= np.linalg.norm(right)
    return Camera(origin, np.array([right, np.cross(right, forward), forward], dtype=np.float64))


def render(room: Room) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Draw the room.

    Returns:
        frames: uint8 (4, 112, 112, 3).
        ids: int16 (4, 112, 112), which object (its place in the room) each pixel shows, -1 for none.
    """
    shots = [_shoot(room, camera) for camera in cameras(room)]
    return np.stack([s[0] for s in shots]), np.stack([s[1] for s in shots])


def _shoot(room: Room, camera: Camera) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    right, up, forward = camera.axes.astype(np.float32)[:, :, None, None]
    rays = forward + _U * right + _V * up  # (3, SIDE, SIDE)
    rays[np.abs(rays) < 1e-6] = 1e-6
    image, depth = _shell(room, camera.origin, rays)
    ids = np.full((SIDE, SIDE), -1, np.int16)
    inverse = 1 / rays
    for number in range(len(room.categories)):
        _paint(room, number, camera, inverse, image, depth, ids)
    return image.astype(np.uint8), ids


def _shell(room: Room, origin: Array, rays: Image) -> tuple[Image, Image]:
    """Floor, walls and ceiling as (SIDE, SIDE, 3) colours, and how far they are, (SIDE, SIDE)."""
    far = np.array([*room.size, CEILING])
    to_far, to_zero = (far - origin).astype(np.float32), (-origin).astype(np.float32)
    ahead = np.where(rays > 0, to_far[:, None, None], to_zero[:, None, None]) / rays
    surface = ahead.argmin(0)
    surface[(surface == 2) & (rays[2] > 0)] = 3
    return SURFACES[surface], ahead.min(0)


def _window(low: Array, high: Array, camera: Camera) -> tuple[slice, slice] | None:
    """Rows and columns that can show a box; None where it is out of sight."""
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, 8).T
    in_camera = (corners - camera.origin) @ camera.axes.T
    if (in_camera[:, 2] <= 0.05).any():
        return slice(0, SIDE), slice(0, SIDE)
    pixels = in_camera[:, :2] / in_camera[:, 2:] * FOCAL * [1, -1] + SIDE / 2
    (left, top), (right, bottom) = pixels.min(0).astype(int), pixels.max(0).astype(int) + 2
    rows, columns = slice(max(0, top), min(SIDE, bottom)), slice(max(0, left), min(SIDE, right))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _paint(
    room: Room, number: int, camera: Camera, inverse: Image, image: Image, depth: Image, ids: NDArray[np.int16]
) -> None:
    """Draw one box where it is nearer than what is there (slab test of Kay and Kajiya, 1986)."""
    low, high = room.low[number], room.high[number]
    window = _window(low, high, camera)
    if window is None:
        return
    rays = inverse[(slice(None), *window)]
    a = (low - camera.origin).astype(np.float32)[:, None, None] * rays
    b = (high - camera.origin).astype(np.float32)[:, None, None] * rays
    sides = np.minimum(a, b)
    near, out = sides.max(0), np.maximum(a, b).min(0)
    hit = (near < out) & (near > 0) & (near < depth[window])
    depth[window][hit] = near[hit]
    ids[window][hit] = number
    image[window][hit] = SHADES[sides.argmax(0)[hit]][:, None] * COLORS[room.categories[number]]
