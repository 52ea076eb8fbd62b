"""ScanNet's ``.sens`` streams, read from front to back, one frame in memory at a time.

Format: github.com/ScanNet/ScanNet, SensReader; version 4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

VERSION = 4
RATE = 30.0
"""Frames a second of ScanNet's sensor."""

_COMPRESSION = {1: "png", 2: "jpeg"}
_MATRIX = 16 * 4  # a 4 x 4 matrix of float32, bytes
LARGEST_PICTURE = 64 * 2**20
"""Bytes that no picture exceeds: a larger size means that the file is damaged."""


@dataclass(frozen=True)
class SensHeader:
    """What a stream says of itself.

    Args:
        sensor: the device's name.
        compression: ``png`` or ``jpeg`` colour pictures.
        width: of the colour pictures, pixels.
        height: of the colour pictures, pixels.
        frames: how many the stream claims to hold.
    """

    sensor: str
    compression: str
    width: int
    height: int
    frames: int


def read_header(file: BinaryIO, name: str) -> SensHeader:
    """The header; leaves `file` at the first frame.

    Args:
        file: the stream, open at its start.
        name: what messages call it.

    Raises:
        ValueError: not a version 4 stream, or cut short.
    """
    version, length = _unpack(file, "<IQ", name, "header")
    if version != VERSION or length > 1024:
        raise ValueError(f"{name}: not a .sens stream of version {VERSION} (found {version}); download it again")
    sensor = _read(file, length, name, "header").decode("utf-8", "replace")
    _read(file, 4 * _MATRIX, name, "header")  # intrinsics and extrinsics of both cameras
    color, _, width, height, _, _, _, frames = _unpack(file, "<iiIIIIfQ", name, "header")
    if color not in _COMPRESSION:
        raise ValueError(f"{name}: colour compression {color} is neither png (1) nor jpeg (2), which all of ScanNet is")
    return SensHeader(sensor, _COMPRESSION[color], width, height, frames)


def color_frames(path: str | Path, rate: float | None = None) -> Iterator[bytes]:
    """The stream's colour pictures, still compressed, in order.

    Args:
        path: the ``.sens`` file.
        rate: frames a second to keep out of the sensor's 30; None: all.

    Raises:
        ValueError: the stream is cut short or damaged; the message names file and frame.
    """
    name = str(path)
    with Path(path).open("rb") as file:
        header = read_header(file, name)
        for number in range(header.frames):
            where = f"frame {number} of {header.frames}"
            _read(file, _MATRIX, name, where)  # camera to world
            _, _, color, depth = _unpack(file, "<QQQQ", name, where)
            if max(color, depth) > LARGEST_PICTURE:
                size = max(color, depth)
                raise ValueError(f"{name}: {where} claims {size} bytes; the file is damaged, download it again")
            if keep(number, rate):
                yield _read(file, color, name, where)
                color = 0
            file.seek(color + depth, 1)
        if file.tell() > os.fstat(file.fileno()).st_size:
            raise ValueError(f"{name}: cut short at its last frame; download it again")


def keep(number: int, rate: float | None) -> bool:
    """Whether a frame is kept when the sensor's stream is thinned out.

    Args:
        number: of the frame, from 0.
        rate: frames a second to keep; None: all.
    """
    if rate is None or rate >= RATE or number == 0:
        return True
    return int(number * rate / RATE) > int((number - 1) * rate / RATE)


def _read(file: BinaryIO, size: int, name: str, where: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError(f"{name}: cut short at {where} ({len(data)} of {size} bytes); download it again")
    return data


def _unpack(file: BinaryIO, form: str, name: str, where: str) -> tuple:
    return struct.unpack(form, _read(file, struct.calcsize(form), name, where))
