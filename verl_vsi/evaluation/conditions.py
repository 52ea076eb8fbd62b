"""The conditions under which questions are asked: with their video, or with less to see than they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from verl_vsi.data_adapters.schema import COUNTING
from verl_vsi.data_adapters.synthetic_rooms.removed import removed_video
from verl_vsi.evaluation.items import Item

Condition = Literal["normal", "shuffled", "first-frame", "black", "blind", "removed"]
CONDITIONS: dict[str, str] = {
    "normal": "each question with its own video",
    "shuffled": "each question with the video of another scene",
    "first-frame": "the video's first frame, as often as there are frames",
    "black": "black frames",
    "blind": "no video at all",
    "removed": "a video without the objects that the question names; a count is 0",
}


def under(items: Sequence[Item], condition: Condition, seed: int = 0, choice: str = "") -> tuple[Item, ...]:
    """The same questions under a condition; under ``removed`` those that name objects which can be removed.

    Args:
        items: the questions, each with its own video.
        condition: of `CONDITIONS`.
        seed: of the shuffling.
        choice: of frames, as `FrameSpec.choice` names it.

    Raises:
        ValueError: `shuffled` with fewer than two scenes.
    """
    if condition == "normal":
        return tuple(items)
    if condition == "blind":
        return tuple(replace(item, video=None) for item in items)
    if condition in ("first-frame", "black"):
        return tuple(replace(item, shown=condition) for item in items)
    if condition == "removed":
        return tuple(filter(None, (without_objects(item, choice) for item in items)))
    neighbour = _other_videos(items, seed)
    return tuple(replace(item, video=neighbour[item.video]) for item in items if item.video is not None)


def without_objects(item: Item, choice: str) -> Item | None:
    """The question with a video that does not show what it names; None: it names none, or nobody knows where.

    Rendered rooms are rendered without the objects. Of other videos the frames that show them are dropped, as in ReVSI
    (arXiv 2604.24300, query-drop). The true count is 0; other truths stay, so that a score says how much is answered
    without looking.

    Args:
        item: the question with its own video.
        choice: of frames, as `FrameSpec.choice` names it.
    """
    if item.video is None or not item.objects:
        return None
    truth = "0" if item.task == COUNTING else item.truth
    if item.dataset == "rooms":
        return replace(item, truth=truth, video=removed_video(item.scene_id, item.objects))
    hidden = item.places.get(choice)
    return None if hidden is None else replace(item, truth=truth, hidden=hidden)


def _other_videos(items: Sequence[Item], seed: int) -> dict[str, str]:
    """Each video -> another one: all of them on one random ring, each takes its neighbour's."""
    videos = sorted({item.video for item in items if item.video is not None})
    if len(videos) < 2:
        raise ValueError(f"shuffled videos need at least two scenes, the questions have {len(videos)}")
    ring = [videos[i] for i in np.random.default_rng(seed).permutation(len(videos))]
    return dict(zip(ring, ring[1:] + ring[:1], strict=True))
