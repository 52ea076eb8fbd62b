"""Keep the benchmark's scenes out of training: VSI-Bench's 88 ScanNet scenes are ScanNet val scans.

The lists are names only: the 288 scenes of VSI-Bench, and ScanNet's public train and val splits (v2). Names are looked
for in every id and path that a row or a record holds, in any spelling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.json_files import read_document
from verl_vsi.data_adapters.scene_names import possible_names
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


@lru_cache(maxsize=1)
def _val_rooms() -> frozenset[str]:
    """``scene0025``, ...: rooms of val scans; the split is by room."""
    return frozenset(name.partition("_")[0] for name in scannet_split("val"))


@lru_cache(maxsize=100_000)
def leak(text: str) -> str | None:
    """Why training on what this id or path names would leak, whatever source it comes from; None: it would not."""
    return next(iter(leaks([text]).values()), None)


def leaks(texts: Iterable[str]) -> dict[str, str]:
    """Scene name -> why training on it would leak; scenes of the benchmark first.

    Args:
        texts: ids and paths.
    """
    names: set[str] = set().union(*map(_listed, texts))
    if not names:
        return {}
    benchmark = dict.fromkeys(sorted(names & benchmark_scenes().keys()), BENCHMARK_SCENE)
    return benchmark | {name: VAL_SCAN for name in sorted(names) if name not in benchmark}


@lru_cache(maxsize=100_000)
def _listed(text: str) -> frozenset[str]:
    names = possible_names(text)
    return frozenset(n for n in names if n in benchmark_scenes() or n.partition("_")[0] in _val_rooms())


_PLACES = ("scene", "scan", "video", "path", "file", "frame", "image", "folder", "dir", "url", "id", "name", "dataset")
"""Words in the names of columns whose texts are ids or paths, blanks or not."""

_LONGEST_PATH = 4096


@lru_cache(maxsize=1000)
def _is_place(column: str) -> bool:
    return any(word in column.lower() for word in _PLACES)


def ids_and_paths(record: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a row or a record, however nested, that name things: not its prose.

    Args:
        record: column -> value.
    """
    yield from _named(record, place=False)


def _named(value: Any, place: bool) -> Iterator[str]:
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= _LONGEST_PATH and (place or "/" in text or "\\" in text or len(text.split()) == 1):
            yield text
    elif isinstance(value, int) and place:
        yield str(value)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _named(member, _is_place(str(key)))
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _named(member, place)


def reject_leaks(scenes: Iterable[Scene | Rejected], published: bool = False) -> Iterator[Scene | Rejected]:
    """A `Rejected` in place of every scene that would leak, by its id or by its video.

    Args:
        scenes: of any source.
        published: let them all through, as in the paper's own set ("the total 1.5k scenes"); say so in the fingerprint.
    """
    for scene in scenes:
        if published or isinstance(scene, Rejected):
            yield scene
        else:
            yield rejection_of([scene.id, scene.video], scene.id) or scene


def rejection_of(texts: Iterable[str], where: str) -> Rejected | None:
    """Why something is left out where training on it would leak; None: it would not.

    Args:
        texts: its ids and paths.
        where: its name, or file and row.
    """
    for name, reason in leaks(texts).items():
        return Rejected(where, reason, f"scene {name}: kept out of training; --published lets it in")
    return None


def read_scene_names(path: str | Path) -> frozenset[str]:
    """Names of scenes: of a JSON object by scene, of JSON records with ``scene_id``, or one a line.

    Args:
        path: e.g. ReVSI's ``metadata/3d_annotation.json``.

    Raises:
        OSError, ValueError: it can't be read, or names no scene.
    """
    path = Path(path)
    if path.suffix == ".json":
        content = read_document(path)
        names = content if isinstance(content, dict) else [record.get("scene_id") for record in content]
    else:
        names = path.read_text(encoding="utf-8").split()
    texts = frozenset(str(name) for name in names if name)
    if not texts:
        raise ValueError(
            f"{path}: names no scene; give a JSON object by scene, records with scene_id, or a name a line"
        )
    return texts


def _names(name: str) -> dict[str, list[str]]:
    return json.loads((files("verl_vsi.data_adapters") / "data" / f"{name}.json").read_text(encoding="utf-8"))
