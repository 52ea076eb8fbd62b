"""Keep the benchmark's scenes out of training: VSI-Bench's 88 ScanNet scenes are ScanNet val scans.

The lists are names only: the 288 scenes of VSI-Bench, and ScanNet's public train and val splits (v2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files

from verl_vsi.data_adapters.schema import Rejected, Scene

BENCHMARK_SCENE = "scene of VSI-Bench"
VAL_SCAN = "ScanNet val scan"


@lru_cache(maxsize=1)
def benchmark_scenes() -> dict[str, str]:
    """Scene name -> dataset, of the 288 scenes that VSI-Bench asks about."""
    return {name: dataset for dataset, names in _names("benchmark_scenes").items() for name in names}


@lru_cache(maxsize=2)
def scannet_split(split: str) -> frozenset[str]:
    """ScanNet's 1,201 ``train`` or 312 ``val`` scans."""
    return frozenset(_names("scannet_splits")[split])


def leak(scene_id: str) -> str | None:
    """Why training on this scene would leak, whatever source it comes from; None: it would not."""
    if scene_id in benchmark_scenes():
        return BENCHMARK_SCENE
    return VAL_SCAN if scene_id in scannet_split("val") else None


def reject_leaks(scenes: Iterable[Scene | Rejected], published: bool = False) -> Iterator[Scene | Rejected]:
    """A `Rejected` in place of every scene that would leak.

    Args:
        scenes: of any source.
        published: let them all through, as in the paper's own set ("the total 1.5k scenes"); say so in the fingerprint.
    """
    for scene in scenes:
        yield scene if published or isinstance(scene, Rejected) else rejection_of(scene.id) or scene


def rejection_of(scene_id: str) -> Rejected | None:
    """Why a scene is left out where training on it would leak; None: it would not."""
    reason = leak(scene_id)
    return None if reason is None else Rejected(scene_id, reason, "kept out of training; --published lets it in")


def _names(name: str) -> dict[str, list[str]]:
    return json.loads((files("verl_vsi.data_adapters") / "data" / f"{name}.json").read_text(encoding="utf-8"))
