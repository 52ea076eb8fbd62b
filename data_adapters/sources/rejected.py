"""Scenes that cannot be used, with the reason, in place of a silent gap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from verl_vsi.data_adapters.scenes import Scene


@dataclass(frozen=True)
class Rejected:
    """Something that was left out.

    Args:
        where: the scene, or the file and its row.
        reason: a few words that many may share, for the summary.
        detail: the value and the way out.
    """

    where: str
    reason: str
    detail: str = ""


def sort_out(found: Iterable[Scene | Rejected]) -> tuple[list[Scene], list[Rejected]]:
    """Part what can be used from what cannot; a scene without boxes goes to the latter."""
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    for item in found:
        if isinstance(item, Rejected):
            rejected.append(item)
        elif not item.boxes:
            rejected.append(Rejected(item.id, "scene without boxes", f"{item.dataset}: no object is annotated"))
        else:
            scenes.append(item)
    return scenes, rejected
