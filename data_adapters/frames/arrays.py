"""One array a file: resized and written frame by frame, mapped for reading, known to be whole by its checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from verl_vsi.data_adapters.files import atomic_path, write_text
from verl_vsi.data_adapters.frames.info import FrameInfo, Frames
from verl_vsi.data_adapters.frames.spec import Image

VERSION = 2
"""Of the layout of array and index entry; another version is built anew."""


def write(
    path: Path, meta: FrameInfo, images: Iterable[Image], source: dict[str, Any], check: Callable[[], None]
) -> None:
    """Write ``path.npy`` (T, H, W, 3) uint8, then its index entry ``path.json``, which makes it count.

    Args:
        path: without suffix.
        meta: its shape and what else the entry says.
        images: (h, w, 3) RGB, as many as `meta.shape` says, of any size; resized and written one at a time.
        source: where the frames come from, kept in the entry.
        check: called when all frames are written, before they count; what it raises leaves nothing.
    """
    _, height, width = meta.shape
    crc = 0
    with atomic_path(path.with_suffix(".npy")) as temporary, temporary.open("wb") as stream:
        # Plain writes, not a writable mapping: a full disk is then an OSError and no SIGBUS.
        header = {"descr": "|u1", "fortran_order": False, "shape": (*meta.shape, 3)}
        np.lib.format.write_array_header_1_0(stream, header)
        for image in images:
            data = resize(image, height, width).tobytes()
            crc = zlib.crc32(data, crc)
            stream.write(data)
        check()
    entry = {"version": VERSION, "crc32": crc, **asdict(meta), "seconds": meta.seconds, **source}
    write_text(path.with_suffix(".json"), json.dumps(entry | {"entry_crc32": _seal(entry)}, indent=1))


def _seal(entry: dict[str, Any]) -> int:
    """Checksum of an entry, so that an edited one (other indices, another rate) does not pass for what was written."""
    return zlib.crc32(json.dumps(entry, sort_keys=True).encode())


def resize(image: Image, height: int, width: int) -> Image:
    """One frame in another size, bicubic with antialias.

    The same arithmetic as ``torchvision.transforms.functional.resize`` on a uint8 tensor, which qwen_vl_utils calls,
    without torchvision: its wheel does not load beside every build of torch.

    Args:
        image: (H, W, 3) uint8.
        height: of the result, pixels.
        width: of the result, pixels.

    Returns:
        (height, width, 3) uint8.
    """
    if image.shape[:2] == (height, width):
        return image
    import torch

    pixels: Any = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(torch.float32)
    resized = torch.nn.functional.interpolate(
        pixels, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp_(0, 255).round_().to(torch.uint8)[0].permute(1, 2, 0).contiguous().numpy()


def read_info(path: Path) -> tuple[FrameInfo, int] | None:
    """The index entry and the array's checksum; None where there is none that can be used."""
    try:
        entry = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        seal = entry.pop("entry_crc32")
        if entry["version"] != VERSION or seal != _seal(entry):
            return None
        t, h, w = entry["shape"]
        gt, gh, gw = entry["grid_thw"]
        plain = {k: entry[k] for k in ("tokens", "fps", "total", "decoder")}
        info = FrameInfo(shape=(t, h, w), grid_thw=(gt, gh, gw), indices=tuple(entry["indices"]), **plain)
        return info, entry["crc32"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read(path: Path) -> Frames | None:
    """The frames, mapped; None where array or entry is missing, cut short or altered, so that it is built again."""
    entry = read_info(path)
    if entry is None:
        return None
    meta, crc = entry
    try:
        # "c" = copy on write: pages are shared, and a stray write stays private instead of ending in SIGSEGV.
        mapped = np.load(path.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    if mapped.shape != (*meta.shape, 3) or mapped.dtype != np.uint8 or zlib.crc32(mapped.data) != crc:
        return None
    array = np.asarray(mapped)
    array.flags.writeable = False
    return Frames(array, meta)
