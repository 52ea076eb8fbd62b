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

import numpy as np

from verl_vsi.data_adapters.schema import Array

VERSION = 4
RATE = 30.0
"""Frames a second of ScanNet's sensor."""

_COMPRESSION = {1: "png", 2: "jpeg"}
_DEPTH_COMPRESSION = {0: "raw", 1: "zlib", 2: "occipital"}
_MATRIX = 16 * 4  # a 4 x 4 matrix of float32, bytes
LARGEST_PICTURE = 64 * 2**20
"""Bytes that no picture exceeds: a larger size means that the file is damaged."""


@dataclass(frozen=True, eq=False)
class SensHeader:
    """What a stream says of itself.

    Args:
        sensor: the device's name.
        compression: ``png`` or ``jpeg`` colour pictures.
        width: of the colour pictures, pixels.
        height: of the colour pictures, pixels.
        frames: how many the stream claims to hold.
        depth_compression: ``zlib`` in all of ScanNet.
        depth_width: of the depth pictures, pixels.
        depth_height: of the depth pictures, pixels.
        depth_shift: units of depth a metre.
        depth_intrinsics: (4, 4) of the depth camera, pixels.
    """

    sensor: str
    compression: str
    width: int
    height: int
    frames: int
    depth_compression: str
    depth_width: int
    depth_height: int
    depth_shift: float
    depth_intrinsics: Array


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
    cameras = _matrices(_read(file, 4 * _MATRIX, name, "header"))  # intrinsics, extrinsics; of colour, of depth
    color, depth, width, height, *depth_size, shift, frames = _unpack(file, "<iiIIIIfQ", name, "header")
    if color not in _COMPRESSION:
        raise ValueError(f"{name}: colour compression {color} is neither png (1) nor jpeg (2), which all of ScanNet is")
    packing = _DEPTH_COMPRESSION.get(depth, str(depth))
    return SensHeader(sensor, _COMPRESSION[color], width, height, frames, packing, *depth_size, shift, cameras[2])


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


def packed_frames(path: Path, wanted: frozenset[int]) -> Iterator[tuple[int, SensHeader, Array, bytes]]:
    """Number, header, camera-to-world pose (4, 4) and depth picture, still compressed, of chosen frames, in order.

    Args:
        path: the ``.sens`` file.
        wanted: numbers of frames.

    Raises:
        ValueError: the stream is cut short or damaged, or its depth is of a compression that ScanNet does not use.
    """
    name = str(path)
    with path.open("rb") as file:
        header = read_header(file, name)
        if header.depth_compression not in ("raw", "zlib"):
            raise ValueError(f"{name}: depth is packed as {header.depth_compression}; all of ScanNet has zlib")
        for number in range(max(wanted, default=-1) + 1):
            where = f"frame {number} of {header.frames}"
            pose = _matrices(_read(file, _MATRIX, name, where))[0]
            _, _, color, depth = _unpack(file, "<QQQQ", name, where)
            if max(color, depth) > LARGEST_PICTURE:
                raise ValueError(f"{name}: {where} claims {max(color, depth)} bytes; the file is damaged")
            file.seek(color, 1)
            if number in wanted:
                yield number, header, pose, _read(file, depth, name, where)
            else:
                file.seek(depth, 1)


def _matrices(data: bytes) -> Array:
    """(n, 4, 4) of n matrices, row by row."""
    return np.frombuffer(data, "<f4").reshape(-1, 4, 4).astype(np.float64)


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
