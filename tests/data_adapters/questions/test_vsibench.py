"""The benchmark's own rules: closest points, margins, lettered options, sectors."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.questions.geometry import Distances, shell
from verl_vsi.data_adapters.questions.vsibench_directions import EASY, HARD, MEDIUM, Level
from verl_vsi.data_adapters.schema import Box, Question, Scene
from verl_vsi.data_adapters.synthetic_rooms import make_room


def _box(category: str, at, size=(0.4, 0.4, 0.4), turn: float = 0.0) -> Box:
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return Box(category, np.array(at, float), np.array(size, float), np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]))


def _scene(*boxes: Box, size: float = 20.0, **changes) -> Scene:
    counts = Counter(b.category for b in boxes)
    return replace(Scene("s", "scannet", "scannet/s.mp4", size, boxes, counts), **changes)


def _hall(**changes) -> Scene:
    """A lamp in the middle, five things around it at 1.0, 1.5, 2.0, 2.5, 3.0 m from its faces, and two chairs."""
    gap = 0.4  # two halves
    return _scene(
        _box("lamp", (0, 0, 0)),
        _box("sofa", (1.0 + gap, 0, 0)),
        _box("desk", (0, 1.5 + gap, 0)),
        _box("bed", (-2.0 - gap, 0, 0)),
        _box("tv", (0, -2.5 - gap, 0)),
        _box("chair", (3.0 + gap, 0, 0)),
        _box("chair", (0, 0, 3.5)),
        **changes,
    )


def _ask(scene: Scene, task: str, n: int = 1000, seed: int = 0) -> list[Question]:
    quotas = Quotas(per_scene={task: n})
    return [q for q, _ in build_questions([scene], "vsibench", quotas=quotas, tasks=[task], seed=seed)]


def test_distance_is_between_closest_points():
    answers = {frozenset(q.trace["objects"]): q for q in _ask(_hall(), "object_abs_distance")}
    question = answers[frozenset({"lamp", "sofa"})]
    a, b = question.trace["objects"]
    assert question.answer == "1.0"
    assert question.text == (
        f"Measuring from the closest point of each object, what is the distance between the {a} and the {b} "
        "(in meters)?"
    )
    assert all("chair" not in pair for pair in answers)  # there are two


def test_objects_that_nearly_touch_are_not_asked_for():
    scene = _scene(_box("a", (0, 0, 0)), _box("b", (0.59, 0, 0)), _box("c", (0, 0.61, 0)))  # 0.19 m, 0.21 m
    pairs = {frozenset(q.trace["objects"]) for q in _ask(scene, "object_abs_distance")}
    assert pairs == {frozenset("ac"), frozenset("bc")}


_numbers = st.floats(-3, 3, allow_nan=False)
_sizes = st.floats(0.06, 1.2)
_boxes = st.builds(
    lambda x, y, z, a, b, c, turn: ((x, y, z), (a, b, c), turn),
    _numbers, _numbers, _numbers, _sizes, _sizes, _sizes, st.floats(0, 360),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(a=st.lists(_boxes, min_size=1, max_size=3), b=st.lists(_boxes, min_size=1, max_size=3))
def test_distance_equals_the_brute_force_minimum(a, b):
    scene = _scene(*(_box("a", *values) for values in a), *(_box("b", *values) for values in b))
    brute = min(cdist(shell(x), shell(y)).min() for x in scene.of("a") for y in scene.of("b"))
    assert Distances(scene).between("b", "a") == pytest.approx(brute)


def test_a_box_is_its_grid_without_the_core():
    points = shell(_box("a", (1, 2, 3), (0.4, 0.2, 0.2)))
    assert len(points) == 8 * 4 * 4 - 4 * 2 * 2  # |x| <= .1, |y| <= .05, |z| <= .05 taken out
    assert np.allclose(points.max(0), (1.2, 2.1, 3.1))
    assert np.allclose(points.min(0), (0.8, 1.9, 2.9))


def test_nearest_of_four_measures_closest_points_and_takes_the_nearest_instance():
    by_target = [q for q in _ask(_hall(), "object_rel_distance") if q.trace["target"] == "lamp"]
    assert by_target
    for question in by_target:
        assert question.trace["metres"].get("chair", 3.0) == pytest.approx(3.0)  # not the one at 3.1 m
        right = min(question.trace["metres"], key=question.trace["metres"].__getitem__)
        assert dict(o.split(". ") for o in question.options)[question.answer] == right
        names = ", ".join(o.split(". ")[1] for o in question.options)
        assert question.text == (
            f"Measuring from the closest point of each object, which of these objects ({names}) "
            "is the closest to the lamp?"
        )


def test_options_closer_together_than_the_margin_are_left_out_and_large_rooms_want_more():
    boxes = [_box(c, (0.4 + d, 0, 0), (0.4, 0.4, 0.4)) for c, d in zip("abcd", (1.0, 1.2, 1.4, 1.6), strict=True)]
    scene = _scene(_box("t", (0, 0, 0)), *boxes)
    assert [q.trace["target"] for q in _ask(scene, "object_rel_distance")].count("t") == 1  # steps of 0.20 m
    large = [q for q in _ask(replace(scene, room_size=41.0), "object_rel_distance") if q.trace["target"] == "t"]
    assert large == []


def test_a_target_that_touches_its_nearest_is_left_out():
    scene = _hall()
    touching = replace(scene, boxes=(*scene.boxes, _box("rug", (0.5, 0, 0))), counts={**scene.counts, "rug": 1})
    for question in _ask(touching, "object_rel_distance"):
        assert {question.trace["target"], *question.trace["metres"]} != {"lamp", "rug"}
        assert min(question.trace["metres"].values()) >= 0.15


@pytest.mark.parametrize(
    ("level", "degrees", "sector", "clear"),
    [
        (EASY, 45, "left", True),
        (EASY, 300, "right", True),
        (EASY, 180, "back", True),
        (MEDIUM, 9, "left", False),  # within 10 degrees of straight ahead
        (MEDIUM, 10, "left", True),
        (MEDIUM, 124, "left", True),
        (MEDIUM, 126, "left", False),
        (MEDIUM, 140, "back", False),
        (MEDIUM, 180, "back", True),
        (MEDIUM, 226, "right", False),
        (MEDIUM, 351, "right", False),
        (HARD, 0, "front-left", True),  # hard has a margin below upper edges only
        (HARD, 79, "front-left", True),
        (HARD, 81, "front-left", False),
        (HARD, 91, "back-left", True),
        (HARD, 200, "back-right", True),
        (HARD, 300, "front-right", True),
        (HARD, 359, "front-right", False),
        (EASY, 360.0, "left", False),  # straight ahead
        (MEDIUM, -1e-17 % 360, "left", False),  # which is 360.0
        (HARD, 360.0, "front-left", True),
        (HARD, -90, "front-right", True),
    ],
)
def test_sectors_and_their_margins(level: Level, degrees: float, sector: str, clear: bool):
    assert (level.sector(degrees), level.clear(degrees)) == (sector, clear)


@pytest.mark.parametrize("turn", [0.0, 90.0, 180.0, 270.0])
def test_boxes_at_round_coordinates_have_directions(turn: float):
    """Angles of exactly 0 and 360 degrees, and corners on the edges of sectors."""
    places = [(x, y, 0.0) for x in (-2.0, 0.0, 2.0) for y in (-2.0, 0.0, 2.0)]
    scene = _scene(*(_box(f"o{i}", place, turn=turn) for i, place in enumerate(places)))
    for level in (EASY, MEDIUM, HARD):
        assert _ask(scene, level.task)


@pytest.mark.parametrize(
    ("task", "text", "options"),
    [
        ("easy", "is the {q} to the left or the right of the {o}?", {"left", "right"}),
        (
            "medium",
            "is the {q} to my left, right, or back?\n"
            "An object is to my back if I would have to turn at least 135 degrees in order to face it.",
            {"left", "right", "back"},
        ),
        (
            "hard",
            "is the {q} to my front-left, front-right, back-left, or back-right?\n"
            "The directions refer to the quadrants of a Cartesian plane "
            "(if I am standing at the origin and facing along the positive y-axis).",
            {"front-left", "front-right", "back-left", "back-right"},
        ),
    ],
)
def test_directions_read_as_in_the_benchmark_and_are_true(task: str, text: str, options: set[str]):
    place = {b.category: b.centroid for b in _hall().boxes}
    questions = _ask(_hall(), f"object_rel_direction_{task}")
    assert questions
    for question in questions:
        p, o, q = question.trace["objects"]
        assert question.text == f"If I am standing by the {p} and facing the {o}, " + text.format(o=o, q=q)
        options_by_letter = dict(option.split(". ") for option in question.options)
        assert set(options_by_letter.values()) == options
        ahead, toward = place[o] - place[p], place[q] - place[p]
        left = ahead[0] * toward[1] - ahead[1] * toward[0] > 0
        assert ("left" in options_by_letter[question.answer]) == left or options_by_letter[question.answer] == "back"
        if task == "hard":
            assert ("front" in options_by_letter[question.answer]) == (float(ahead @ toward) > 0)


def test_a_querying_object_whose_corners_stray_is_left_out():
    wide = _scene(_box("p", (0, 0, 0)), _box("o", (0, 2, 0)), _box("q", (0.9, 2, 0), (2.6, 0.2, 0.2)))
    narrow = _scene(_box("p", (0, 0, 0)), _box("o", (0, 2, 0)), _box("q", (1.2, 2, 0), (0.2, 0.2, 0.2)))
    objects = ["p", "o", "q"]  # the wide one, seen from p, reaches over the line of sight
    assert objects not in [q.trace["objects"] for q in _ask(wide, "object_rel_direction_hard")]
    assert objects in [q.trace["objects"] for q in _ask(narrow, "object_rel_direction_easy")]


@pytest.mark.parametrize("shift", [0.65, 7.0])  # 0.25 m: too near; 6.6 m: too far
def test_directions_need_objects_neither_too_near_nor_too_far(shift: float):
    scene = _scene(_box("p", (0, 0, 0)), _box("o", (0, 2, 0)), _box("q", (-shift, 0.0, 0)))
    assert _ask(scene, "object_rel_direction_easy") == []


def test_appearance_order_wants_more_than_a_second_between_any_two():
    seconds = {"lamp": 0.0, "sofa": 2.0, "desk": 2.5, "bed": 4.0, "tv": 9.0}
    questions = _ask(_hall(first_seen=seconds), "obj_appearance_order")
    assert {frozenset(q.trace["order"]) for q in questions} == {
        frozenset({"lamp", "sofa", "bed", "tv"}),
        frozenset({"lamp", "desk", "bed", "tv"}),
    }
    for question in questions:
        right = dict(o.split(". ") for o in question.options)[question.answer].split(", ")
        assert all(seconds[a] < seconds[b] for a, b in pairwise(right))
        assert len(set(question.options)) == 4
    assert _ask(_hall(), "obj_appearance_order") == []  # times unknown


def test_numbers_read_as_in_the_benchmark():
    (count,) = _ask(_hall(), "object_counting")
    assert (count.text, count.answer) == ("How many chair(s) are in this room?", "2")
    (room,) = _ask(_hall(size=47.94), "room_size_estimation")
    assert (room.text, room.answer) == (
        "What is the size of this room (in square meters)?\n"
        "If multiple rooms are shown, estimate the size of the combined space.",
        "47.9",
    )
    size = next(q for q in _ask(_hall(), "object_size_estimation") if q.trace["objects"] == ["lamp"])
    assert (size.text, size.answer) == (
        "What is the length of the longest dimension (length, width, or height) of the lamp, measured in centimeters?",
        "40",
    )


def test_six_questions_a_scene_and_task_with_balanced_letters():
    scenes = [make_room(0, i).scene for i in range(40)]
    questions = [q for q, _ in build_questions(scenes, "vsibench")]
    a_scene = Counter((q.scene_id, q.task) for q in questions)
    assert max(a_scene.values()) == 6
    assert all(n == 1 for (_, task), n in a_scene.items() if task == "room_size_estimation")
    letters = Counter(q.answer for q in questions if q.task == "object_rel_direction_easy")
    assert abs(letters["A"] - letters["B"]) <= 0.1 * letters.total()


def test_scenes_with_too_little_in_them_give_fewer_questions_not_an_error():
    assert {q.task for q, _ in build_questions([_scene(_box("lamp", (0, 0, 0)))], "vsibench")} == {
        "object_size_estimation",
        "room_size_estimation",
    }
