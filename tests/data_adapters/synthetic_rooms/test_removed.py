"""A room without some objects differs from the room in nothing else."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from verl_vsi.data_adapters.synthetic_rooms import draw
from verl_vsi.data_adapters.synthetic_rooms.layout import NAMES
from verl_vsi.data_adapters.synthetic_rooms.removed import removed_video, render_without


def frames_of(video: Path) -> np.ndarray:
    with av.open(str(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def test_only_pixels_of_the_removed_objects_change(tmp_path: Path) -> None:
    drawn = draw(3, 7)
    category = int(np.bincount(drawn.ids[drawn.ids >= 0]).argmax())  # the object with most pixels
    name = NAMES[drawn.room.categories[category]]
    video = render_without(tmp_path, drawn.room.name, [name])
    assert video == tmp_path / removed_video(drawn.room.name, [name])
    gone = np.isin(drawn.ids, np.flatnonzero(drawn.room.categories == NAMES.index(name)))
    difference = np.abs(frames_of(video) - drawn.frames.astype(int)).max(axis=-1)
    assert np.median(difference[gone]) > 20
    assert np.median(difference[~gone]) < 12  # mp4 is lossy


def test_the_path_knows_what_is_removed_in_any_order() -> None:
    assert removed_video("room_1_000002", ["tv", "bed"]) == removed_video("room_1_000002", ["bed", "tv", "bed"])
    assert removed_video("room_1_000002", ["tv"]) != removed_video("room_1_000002", ["bed"])


def test_only_rendered_rooms_can_be_rendered_without(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'scene0000_00' is no rendered room"):
        render_without(tmp_path, "scene0000_00", ["tv"])
