"""What is missing on disk, scene by scene, and which official file holds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import inside
from verl_vsi.data_adapters.leakage import benchmark_scenes
from verl_vsi.data_adapters.sources.scannet import missing_files

OFFICIAL = {
    "scannetpp": "ScanNet++'s download (kaldir.vc.in.tum.de/scannetpp, after its terms), <scene>/iphone/rgb.mkv",
    "arkitscenes": "ARKitScenes' download_data.py raw --raw_dataset_assets lowres_wide, <scene>/lowres_wide",
}
"""Where a video of a scene outside the benchmark comes from."""


@dataclass(frozen=True)
class Missing:
    """One thing that is not there.

    Args:
        scene: whose.
        what: the file, as it should be.
        source: which official file holds it, or what makes it.
    """

    scene: str
    what: str
    source: str


def missing_videos(rows: Iterable[Mapping[str, Any]], root: str | Path) -> Iterator[Missing]:
    """Videos that rows name and that are not under the root, or are empty; each once.

    Raises:
        ValueError: a row's path leaves the root.
    """
    seen: set[str] = set()
    for row in rows:
        info = row["extra_info"]
        for video in row["videos"]:
            if video in seen:
                continue
            seen.add(video)
            path = inside(Path(root), video)
            if not path.exists() or (path.is_file() and not path.stat().st_size):
                state = " (empty)" if path.exists() else ""
                yield Missing(info["scene_id"], f"{video}{state}", video_source(info["scene_id"], info["dataset"]))


def video_source(scene: str, dataset: str) -> str:
    """Where the video of a scene comes from."""
    if scene in benchmark_scenes():
        return f"nyu-visionx/VSI-Bench, {benchmark_scenes()[scene]}.zip: verl-vsi data bench --zip"
    if dataset == "rooms":
        return "verl-vsi data rooms, with the split's seed and count"
    if dataset == "scannet":
        return f"ScanNet's {scene}.sens (download-scannet.py --id {scene} --type .sens): verl-vsi data videos"
    return OFFICIAL.get(dataset, f"the makers of '{dataset}'")


def missing_scans(scannet: str | Path, scenes: Iterable[str]) -> Iterator[Missing]:
    """Files of ScanNet scans that a build needs and the download lacks.

    Args:
        scannet: the folder that download-scannet.py wrote to.
        scenes: names of scans.
    """
    root = Path(scannet)
    base = root / "scans" if (root / "scans").is_dir() else root
    for scene in sorted(scenes):
        names = missing_files(base / scene)
        if names:
            yield Missing(scene, ", ".join(names), f"ScanNet: download-scannet.py --id {scene}")
