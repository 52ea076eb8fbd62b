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

from verl_vsi.data_adapters.frames.decoders.base import Clip, Deadline, FrameError
from verl_vsi.data_adapters.frames.spec import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm")
RATE_FILE = "frames.json"
"""Optional, ``{"fps": 5.0}``: the rate at which the folder was filled."""
DEFAULT_FPS = 2.0
"""qwen_vl_utils' rate for lists of frames."""


def images(folder: Path) -> list[Path]:
    """The folder's image files in natural order."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    return sorted(files, key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.name)])


def probe(video: Path) -> Clip:
    """Number of images, the rate file's rate, and the first image's size."""
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
        with Pillow.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise FrameError(video, f"its image {file.name} can't be read ({error})") from error


def _rate(video: Path) -> float:
    path = video / RATE_FILE
    if not path.exists():
        return DEFAULT_FPS
    try:
        rate = float(json.loads(path.read_text(encoding="utf-8"))["fps"])
    except (ValueError, KeyError, TypeError) as error:
        raise FrameError(video, f'its {RATE_FILE} should read {{"fps": 5.0}} ({error!r})') from error
    if not rate > 0:
        raise FrameError(video, f"its {RATE_FILE} gives fps {rate:g}, which must be positive")
    return rate
