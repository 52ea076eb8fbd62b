"""Copies of the benchmark's videos under other names, told by their content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import inside, sha256
from verl_vsi.data_adapters.leakage import benchmark_scenes


def benchmark_copies(rows: Iterable[Mapping[str, Any]], root: str | Path) -> dict[str, str]:
    """Video that a row names -> scene of VSI-Bench whose video has the same bytes under the same root.

    Only files of one size are read; where the benchmark's videos are not there, nothing is found.

    Args:
        rows: as `verl_vsi.data_adapters.rows.iter_rows` gives them.
        root: the data root, with VSI-Bench's videos in ``<dataset>/<scene>.mp4``.
    """
    originals: dict[int, dict[Path, str]] = defaultdict(dict)
    for scene, dataset in benchmark_scenes().items():
        path = Path(root) / dataset / f"{scene}.mp4"
        if path.is_file():
            originals[path.stat().st_size][path] = scene
    digests: dict[Path, str] = {}
    copies: dict[str, str] = {}
    for video in sorted({video for row in rows for video in row["videos"] or () if isinstance(video, str)}):
        path = _file(root, video)
        for original, scene in originals[path.stat().st_size].items() if path else ():
            if path and _digest(path, digests) == _digest(original, digests):
                copies[video] = scene
    return copies


def _file(root: str | Path, video: str) -> Path | None:
    try:
        path = inside(Path(root), video)
    except ValueError:
        return None  # the audit names the row
    return path if path.is_file() else None


def _digest(path: Path, known: dict[Path, str]) -> str:
    if path not in known:
        known[path] = sha256(path)
    return known[path]
