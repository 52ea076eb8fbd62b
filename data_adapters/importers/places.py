"""Which scene a foreign record is about, and which video shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from verl_vsi.data_adapters.importers.fields import RecordFields
from verl_vsi.data_adapters.scene_names import scene_names

_GENERIC = re.compile(
    r"[\d_.-]*|rgb|rgb_?frames|lowres_wide|vga_wide|wide|ultrawide|iphone|dslr|colou?r|depth|videos?|clips?|frames?"
    r"|images?|data|raw|scans|scenes|train(?:ing)?|val(?:idation)?|test|output|input|media|movie|main|camera",
    re.IGNORECASE,
)
"""Parts of paths that name what a file is, not whose: no scene is called so."""


@dataclass(frozen=True)
class Place:
    """Scene, its dataset, and its video relative to the data root."""

    scene: str
    dataset: str
    video: str


def place_of(fields: RecordFields, elsewhere: Sequence[str]) -> Place | None:
    """Where a record belongs; None: nothing says it. A known scene's video is ``<dataset>/<scene>.mp4``.

    Args:
        fields: of the record.
        elsewhere: other ids and paths of the record; one scene that they name counts where nothing else says it.

    Raises:
        ValueError: scene and paths name different scenes, or frames lie in several folders.
    """
    texts = [text for text in (fields.scene, *fields.paths) if text]
    known = {name: dataset for text in texts for name, dataset in scene_names(text).items()}
    if len(known) > 1:
        raise ValueError(f"scene and video disagree: {', '.join(list(known)[:4])}; --map scene=COLUMN, video=COLUMN")
    if not known and not fields.scene:
        others = {name: dataset for text in elsewhere for name, dataset in scene_names(text).items()}
        known = others if len(others) == 1 else {}
    for name, dataset in known.items():
        return Place(name, dataset, f"{dataset}/{name}.mp4")
    video = _video([path.replace("\\", "/") for path in fields.paths])
    if video:
        path = PurePosixPath(video)
        return Place(fields.scene or _own_name(path), fields.dataset or path.parts[0], video)
    if fields.scene and fields.dataset:
        return Place(fields.scene, fields.dataset, f"{fields.dataset}/{fields.scene}.mp4")
    return None


def _video(paths: Sequence[str]) -> str | None:
    """The one path, or the folder in which all frames lie."""
    if len(paths) <= 1:
        return paths[0] if paths else None
    folders = {str(PurePosixPath(path).parent) for path in paths}
    if len(folders) > 1:
        raise ValueError(f"frames lie in several folders: {', '.join(sorted(folders)[:4])}; a row has one video")
    return folders.pop()


def _own_name(path: PurePosixPath) -> str:
    """The last part that names a scene rather than a kind of file."""
    parts = [*path.parts[:-1], path.stem]
    return next((part for part in reversed(parts) if not _GENERIC.fullmatch(part)), path.stem)
