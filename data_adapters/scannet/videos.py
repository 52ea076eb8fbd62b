"""ScanNet's colour pictures, from a ``.sens`` stream or a folder, as an mp4 or a folder of frames."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from verl_vsi.data_adapters.files import atomic_path, hidden_beside
from verl_vsi.data_adapters.frames.decoders.base import LARGEST_FRAME
from verl_vsi.data_adapters.frames.decoders.image_folder import RATE_FILE
from verl_vsi.data_adapters.mp4 import write_mp4
from verl_vsi.data_adapters.scannet.scans import scan_folders
from verl_vsi.data_adapters.scannet.sens import LARGEST_PICTURE, RATE, color_frames, keep
from verl_vsi.data_adapters.work import in_processes

BENCHMARK_RATE, BENCHMARK_SIZE = 24.0, (640, 480)
"""Frames a second and (width, height) of VSI-Bench's ScanNet videos."""

PICTURES = (".jpg", ".jpeg", ".png")


def pictures(source: str | Path, rate: float | None = None) -> Iterator[bytes]:
    """Compressed colour pictures of a ``.sens`` file, or of a folder in the order of the numbers in its file names.

    Args:
        source: the stream, or the folder (``color/0.jpg``, ``color/1.jpg``, ...).
        rate: frames a second to keep out of 30; None: all.

    Raises:
        ValueError: the folder has no pictures, or the stream is damaged.
    """
    source = Path(source)
    if not source.is_dir():
        yield from color_frames(source, rate)
        return
    files = sorted((p for p in source.iterdir() if p.suffix.lower() in PICTURES and not p.is_dir()), key=_number)
    if not files:
        raise ValueError(f"{source}: no pictures ({', '.join(PICTURES)}) in this folder")
    for place, file in enumerate(files):
        if keep(place, rate):
            if not file.is_file() or file.stat().st_size > LARGEST_PICTURE:
                raise ValueError(f"{file}: no picture (a pipe, a broken link, or over {LARGEST_PICTURE} bytes)")
            yield file.read_bytes()


def to_mp4(
    source: str | Path, target: str | Path, rate: float = BENCHMARK_RATE, size: tuple[int, int] = BENCHMARK_SIZE
) -> int:
    """Write a video, whole or not at all; return how many frames it has.

    Args:
        source: a ``.sens`` file or a folder of pictures.
        target: the mp4.
        rate: frames a second, at most 30; time is kept.
        size: width and height, both even.

    Raises:
        ValueError: the source is damaged or holds no frame.
    """
    with atomic_path(Path(target)) as temporary, temporary.open("wb") as file:
        return write_mp4(file, _decoded(source, rate, size), min(rate, RATE))


def to_folder(source: str | Path, target: str | Path, rate: float | None = None) -> int:
    """Write ``000000.jpg``, ... (the very bytes of the source) and the rate into a new folder; return how many.

    Args:
        source: a ``.sens`` file or a folder of pictures.
        target: the folder.
        rate: frames a second to keep out of 30; None: all.

    Raises:
        FileExistsError: `target` is there already.
        ValueError: the source is damaged or holds no frame.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} is there already; remove it, or choose another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_beside(target)
    temporary.mkdir()
    try:
        count = 0
        for picture in pictures(source, rate):
            (temporary / f"{count:06d}{_ending(picture)}").write_bytes(picture)
            count += 1
        if not count:
            raise ValueError(f"{source}: no frame in it")
        (temporary / RATE_FILE).write_text(json.dumps({"fps": min(rate or RATE, RATE)}), encoding="utf-8")
        os.replace(temporary, target)
        return count
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class ScanVideo:
    """What became of one scan's video.

    Args:
        scene: the scan.
        state: ``made``, ``kept`` or ``failed``.
        total: how many scans there are.
        detail: why it failed.
    """

    scene: str
    state: Literal["made", "kept", "failed"]
    total: int
    detail: str = ""


def scan_videos(scannet: str | Path, root: str | Path, rate: float, workers: int = 2) -> Iterator[ScanVideo]:
    """Make ``<root>/scannet/<scan>.mp4`` of every scan; those that are there are kept.

    Args:
        scannet: the download, with ``<scan>/<scan>.sens`` or a folder ``<scan>/color`` of pictures.
        root: the data root.
        rate: frames a second.
        workers: processes.

    Raises:
        FileNotFoundError: there are no scans.
    """
    folders = scan_folders(scannet)
    yield from in_processes(partial(_scan_video, Path(root), rate, len(folders)), folders, workers)


def _scan_video(root: Path, rate: float, total: int, folder: Path) -> ScanVideo:
    target = root / "scannet" / f"{folder.name}.mp4"
    if target.is_file() and target.stat().st_size:
        return ScanVideo(folder.name, "kept", total)
    stream, colors = folder / f"{folder.name}.sens", folder / "color"
    if not stream.is_file() and not colors.is_dir():
        hint = f"fetch with download-scannet.py --id {folder.name} --type .sens"
        return ScanVideo(folder.name, "failed", total, f"{folder}: neither {stream.name} nor color/; {hint}")
    try:
        to_mp4(stream if stream.is_file() else colors, target, rate)
    except OSError:
        raise  # the data root can't be written
    except Exception as error:  # FFmpeg raises what it likes over foreign bytes
        return ScanVideo(folder.name, "failed", total, str(error) or repr(error))
    return ScanVideo(folder.name, "made", total)


def _decoded(source: str | Path, rate: float, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    count = 0
    for count, picture in enumerate(pictures(source, rate), 1):
        yield _decode(picture, size, f"{source}, frame {count - 1}")
    if not count:
        raise ValueError(f"{source}: no frame in it")


def _decode(picture: bytes, size: tuple[int, int], where: str) -> NDArray[np.uint8]:
    """(height, width, 3) of one compressed picture."""
    codec = "png" if _ending(picture) == ".png" else "mjpeg"
    try:
        decoder = av.VideoCodecContext.create(codec, "r")
        decoder.options = {"max_pixels": str(LARGEST_FRAME)}
        frames = [*decoder.decode(av.Packet(picture)), *decoder.decode(None)]
        if frames[0].is_corrupt:
            raise ValueError(f"{where}: a damaged picture; download the stream again")
        return np.asarray(frames[0].reformat(*size, format="rgb24").to_ndarray(), dtype=np.uint8)
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"{where}: not a readable picture of up to {LARGEST_FRAME} pixels ({error})") from error


def _ending(picture: bytes) -> str:
    return ".png" if picture.startswith(b"\x89PNG") else ".jpg"


def _number(path: Path) -> tuple[int, str]:
    digits = "".join(c for c in path.stem if c in "0123456789")
    return int(digits or 0), path.name
