"""A folder of images as a video: one frame a file, in natural order of names (2.jpg before 10.jpg)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from verl_vsi.data_adapters.frames.decoders.base import Clip, Deadline, FrameError, check_rate, check_size, regular_file
from verl_vsi.data_adapters.frames.spec import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm")
RATE_FILE = "frames.json"
"""Optional, ``{"fps": 5.0}``: the rate at which the folder was filled."""
RATE_FILE_SIZE = 1 << 16
"""Bytes of it that are read."""
DEFAULT_FPS = 2.0
"""qwen_vl_utils' rate for lists of frames."""

_DEEP = ("I", "I;16", "I;16B", "I;16L", "F")
"""Pillow's modes of more than 8 bits, e.g. depth pictures: as RGB they would be cut off at 255."""


def images(folder: Path) -> list[Path]:
    """The folder's image files in natural order; a folder within it is none, whatever its name."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    return sorted((p for p in files if not p.is_dir()), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers by size, words by letters; names that count alike (01, 1) by their length."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (-1, part) for part in parts] + [
        (len(path.name), path.name)
    ]


def probe(video: Path, deadline: Deadline) -> Clip:
    """Number of images, the rate file's rate, and the first image's size.

    Args:
        video, deadline: see `base.Reader`.
    """
    deadline.check(video)
    files = images(video)
    if not files:
        raise FrameError(video, f"the folder holds no images ({', '.join(SUFFIXES)})")
    height, width = _read(video, files[0]).shape[:2]
    return Clip(len(files), _rate(video), height, width)


def pick(video: Path, indices: tuple[int, ...], deadline: Deadline) -> Iterator[Image]:
    """The images at `indices`, (H, W, 3) uint8 RGB each.

    Args:
        video, indices, deadline: see `base.Reader`.
    """
    files = images(video)
    read = lru_cache(maxsize=1)(_read)  # repeated indices follow each other
    for index in indices:
        deadline.check(video)
        yield read(video, files[index])


def _read(video: Path, file: Path) -> Image:
    try:
        with regular_file(video, file.name) as opened, Pillow.open(opened, formats=_FORMATS) as image:
            check_size(video, *image.size, name=f"its image {file.name} is")
            if image.mode in _DEEP:
                raise FrameError(video, f"its image {file.name} has more than 8 bits a colour (mode {image.mode})")
            return np.asarray(image.convert("RGB"))
    except FrameError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Pillow.DecompressionBombError) as error:
        raise FrameError(video, f"its image {file.name} can't be read ({error})") from error


_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")


def _rate(video: Path) -> float:
    if not (video / RATE_FILE).exists():
        return DEFAULT_FPS
    try:
        with regular_file(video, RATE_FILE) as file:
            rate = float(json.loads(file.read(RATE_FILE_SIZE))["fps"])
    except FrameError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise FrameError(video, f'its {RATE_FILE} should read {{"fps": 5.0}} ({error!r})'[:500]) from error
    check_rate(video, rate, f"its {RATE_FILE}")
    return rate
