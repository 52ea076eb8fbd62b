"""Rendered rooms: the same by number, true to their boxes, whole on disk whatever happens."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.data_adapters.scene_files import to_record
from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, SIDE, draw, labels, make_room, render, render_split
from verl_vsi.data_adapters.synthetic_rooms.layout import NAMES, Room
from verl_vsi.data_adapters.synthetic_rooms.render import FOCAL, cameras
from verl_vsi.data_adapters.synthetic_rooms.splits import scenes_file


def _one_box() -> Room:
    """A fridge of 1 m x 1 m x 1.5 m in the middle of a 6 m x 6 m room."""
    return Room(
        "room", (6.0, 6.0), np.array([NAMES.index("fridge")]), np.array([[2.5, 2.5, 0.0]]), np.array([[3.5, 3.5, 1.5]])
    )


def test_a_room_is_the_same_by_its_number_and_in_any_order():
    later, first = draw(7, 3), draw(7, 2)
    assert np.array_equal(draw(7, 3).frames, later.frames)
    assert np.array_equal(draw(7, 2).ids, first.ids)
    assert to_record(make_room(7, 3).scene) == to_record(later.room.scene)


def test_seeds_and_numbers_give_different_rooms():
    assert len({make_room(seed, index).size for seed in range(4) for index in range(4)}) == 16


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), index=st.integers(0, 10**6))
def test_every_room_has_apart_visible_objects_inside_its_walls(seed: int, index: int):
    room, frames, ids = draw(seed, index)
    assert frames.shape == (4, 112, 112, 3)
    assert (room.low >= 0).all()
    assert (room.high[:, :2] <= room.size).all()
    for i in range(len(room.categories)):
        for j in range(i):
            gap = np.maximum(room.low[i] - room.high[j], room.low[j] - room.high[i])[:2].max()
            assert gap >= 0.2
        assert max((frame == i).sum() for frame in ids) >= 12
    assert set(room.first_seen) == set(room.scene.counts)
    assert sum(room.scene.counts.values()) == len(room.scene.boxes)


def test_a_pixel_shows_the_box_that_its_corner_projects_to():
    room = _one_box()
    _, ids = render(room)
    for camera, frame in zip(cameras(room), ids, strict=True):
        x, y, z = camera.axes @ (np.array([3.0, 3.0, 0.75]) - camera.origin)  # the box's middle, as the camera sees it
        column, row = int(x / z * FOCAL + SIDE / 2), int(SIDE / 2 - y / z * FOCAL)
        assert frame[row, column] == 0
        assert frame[0, 0] == -1


def test_the_nearer_box_hides_the_farther_one():
    room = _one_box()
    hidden = replace(
        room,
        categories=np.array([*room.categories, NAMES.index("bin")]),
        low=np.vstack([room.low, [2.9, 2.9, 0.2]]),
        high=np.vstack([room.high, [3.1, 3.1, 0.6]]),
    )
    assert np.array_equal(render(room)[1], render(hidden)[1])


def test_a_box_is_drawn_in_its_category_s_colour():
    room = _one_box()
    frames, ids = render(room)
    colors = np.unique(frames[ids == 0], axis=0) / np.array(CATEGORIES["fridge"].color)
    assert np.allclose(colors, colors[:, :1], atol=0.02)  # one hue, shades of it
    assert colors.max() == pytest.approx(1, abs=0.01)


def test_labels_say_which_tokens_show_a_category():
    room, _, ids = draw(0, 5)
    tokens = labels(room, ids)
    assert tokens.shape == (32, 12)
    assert {NAMES[c] for c in np.flatnonzero(tokens.any(axis=0))} == set(room.scene.counts)
    token = 2 * 4 + 1  # frames 0 and 1, third row, second column
    window = ids[:2, 56:84, 28:56]
    categories = room.categories[window[window >= 0]]
    assert set(np.flatnonzero(tokens[token])) == {c for c in categories if (categories == c).sum() >= 8}


def test_a_video_comes_back_almost_as_drawn():
    frames = draw(0, 0).frames
    with av.open(io.BytesIO(encode_mp4(frames, 4)), "r") as container:
        read = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
        assert container.streams.video[0].average_rate == 4
    assert read.shape == frames.shape
    assert np.abs(read.astype(int) - frames).mean() < 3
    assert encode_mp4(frames, 4) == encode_mp4(frames, 4)


def test_a_split_in_parallel_equals_rooms_drawn_alone(tmp_path):
    scenes = render_split(tmp_path, "val", 20, seed=3, workers=2, quiet=True)
    assert [s.id for s in scenes] == [f"room_3_{i:06d}" for i in range(20)]
    alone = draw(3, 17)
    assert to_record(scenes[17]) == to_record(alone.room.scene)
    assert (tmp_path / scenes[17].video).read_bytes() == encode_mp4(alone.frames, 4)


def _content(root) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (root / "rooms").iterdir()}


def test_an_interrupted_split_is_completed_to_the_same_files(tmp_path, monkeypatch):
    render_split(tmp_path / "whole", "val", 6, seed=1, workers=1, quiet=True)

    def interrupted(seed: int, index: int):
        if index == 3:
            raise KeyboardInterrupt
        return draw(seed, index)

    monkeypatch.setattr("verl_vsi.data_adapters.synthetic_rooms.splits.draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render_split(tmp_path / "cut", "val", 6, seed=1, workers=1, quiet=True)
    assert not scenes_file(tmp_path / "cut", "val").exists()
    part = scenes_file(tmp_path / "cut", "val").with_suffix(".part")
    part.write_text(part.read_text() + '{"id": "room_1_0000')  # killed in the middle of a line
    drawn: list[int] = []
    monkeypatch.setattr(
        "verl_vsi.data_adapters.synthetic_rooms.splits.draw",
        lambda seed, index: (drawn.append(index), draw(seed, index))[1],
    )
    render_split(tmp_path / "cut", "val", 6, seed=1, workers=1, quiet=True)
    assert drawn == [3, 4, 5]
    assert _content(tmp_path / "cut") == _content(tmp_path / "whole")


def test_a_damaged_video_is_rendered_again_and_the_rest_kept(tmp_path):
    scenes = render_split(tmp_path, "val", 3, seed=1, workers=1, quiet=True)
    before = _content(tmp_path)
    (tmp_path / scenes[1].video).write_bytes(b"half")
    render_split(tmp_path, "val", 3, seed=1, workers=1, quiet=True)
    assert _content(tmp_path) == before


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        render_split(tmp_path, "val", 2, seed=1, workers=1, quiet=True)
    assert [p.name for p in (tmp_path / "rooms").iterdir()] == ["val.scenes.part"]
