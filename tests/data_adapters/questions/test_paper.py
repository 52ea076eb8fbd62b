"""VSI-100k's questions: the paper's templates, rules and words, against sums done by hand."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.data_adapters.questions import Ambiguity, Quotas, build_questions
from verl_vsi.data_adapters.questions.geometry import bearing
from verl_vsi.data_adapters.questions.paper import COUNTS
from verl_vsi.data_adapters.questions.rules import share_out
from verl_vsi.data_adapters.schema import Box, Question, Scene
from verl_vsi.data_adapters.synthetic_rooms import make_room

UP_TO_FOUR = Quotas(per_scene=dict.fromkeys(COUNTS, 4))


def _box(category: str, at: tuple[float, float, float], size=(1.0, 0.5, 0.8)) -> Box:
    return Box(category, np.array(at), np.array(size), np.eye(3))


def _kitchen(**changes) -> Scene:
    """Six single objects along the axes and three trash cans."""
    boxes = (
        _box("bicycle", (0, 0, 0), (1.13, 0.4, 0.9)),
        _box("sink", (1, 0, 0)),
        _box("pillow", (0, 2, 0)),
        _box("bed", (-3, 0, 0)),
        _box("guitar", (0, -4, 0)),
        _box("shower", (3, 4, 0)),
        *(_box("trash can", (5, i, 0)) for i in range(3)),
    )
    values = {"id": "kitchen", "dataset": "scannet", "video": "scannet/kitchen.mp4", "room_size": 47.94, "boxes": boxes}
    counts = Counter(b.category for b in values["boxes"])
    return Scene(**({**values, "counts": counts} | changes))


def _ask(scene: Scene, task: str, n: int = 1000, **settings) -> list[Question]:
    quotas = Quotas(per_scene={task: n})
    return [q for q, _ in build_questions([scene], "paper", quotas=quotas, tasks=[task], **settings)]


def test_counting_reads_as_in_the_paper():
    (question,) = _ask(_kitchen(), "object_counting")
    assert question.text == "How many trash can(s)in the room?"
    assert (question.answer, question.kind) == ("3", "number")


def test_distance_is_between_the_geometric_centres():
    answers = {q.text: q.answer for q in _ask(_kitchen(), "object_abs_distance")}
    assert len(answers) == 15  # pairs of six single objects; trash cans are not asked for
    both = ("What is the distance between the {} and the {} (in meters)?".format(*p) for p in _orders("shower", "sink"))
    assert [answers[t] for t in both if t in answers] == ["4.5"]  # sqrt(2^2 + 4^2) = 4.47


def _orders(a: str, b: str) -> list[tuple[str, str]]:
    return [(a, b), (b, a)]


def test_distance_uses_the_centre_of_the_points_where_it_is_known():
    far = Box("lamp", np.zeros(3), np.ones(3), np.eye(3), center=np.array([0.0, 0.0, 2.0]))
    near = _box("bed", (0, 0, 0))
    (question,) = _ask(_kitchen(boxes=(far, near), counts={"lamp": 1, "bed": 1}), "object_abs_distance")
    assert question.answer == "2.0"


def test_size_is_the_longest_side_in_whole_centimetres():
    answers = {q.trace["objects"][0]: q for q in _ask(_kitchen(), "object_size_estimation")}
    assert answers["bicycle"].answer == "113"
    assert answers["bicycle"].text == (
        "What is the length of the longest dimension (length,width, or height) of the bicycle, measured in centimeters?"
    )
    assert "trash can" not in answers


def test_room_size_has_one_decimal_and_is_asked_once():
    (question,) = _ask(_kitchen(), "room_size_estimation")
    assert (question.text, question.answer) == ("What is the size of this room (in square meters)?", "47.9")
    assert _ask(_kitchen(room_size=None), "room_size_estimation") == []


def test_the_nearest_of_four_is_the_answer_wherever_it_stands():
    questions = [q for q in _ask(_kitchen(), "object_rel_distance") if q.trace["objects"][0] == "bicycle"]
    near = {"sink": 1, "pillow": 2, "bed": 3, "guitar": 4, "shower": 5}
    assert questions
    for question in questions:
        _, *others = question.trace["objects"]
        assert question.text == f"Which of these objects ({', '.join(others)})is the closest to the bicycle?"
        assert question.answer == min(others, key=near.__getitem__)
        assert question.kind == "word"


def test_the_right_one_stands_in_every_place_equally_often():
    questions = _ask(_kitchen(), "object_rel_distance", 24)
    places = Counter(q.trace["objects"][1:].index(q.answer) for q in questions)
    assert len(questions) == 24
    assert set(places.values()) == {6}


@pytest.mark.parametrize(
    ("orienting", "querying", "degrees"),
    [
        ((0, 1), (-1, 0), 90),  # looking north, west is to the left
        ((0, 1), (1, 0), -90),  # east to the right
        ((1, 0), (0, 1), 90),  # looking east, north is to the left
        ((0, 1), (-1, -1), 135),  # back-left
        ((0, 2), (0, 5), 0),  # straight ahead
        ((1, 1), (0, 1), 45),  # front-left
    ],
)
def test_angles_are_counter_clockwise_from_the_line_of_sight(orienting, querying, degrees):
    assert bearing(np.zeros(3), np.array([*orienting, 9.0]), np.array([*querying, -9.0])) == pytest.approx(degrees)


def test_direction_reads_as_in_the_paper_and_is_true():
    place = {b.category: b.centroid for b in _kitchen().boxes}
    for question in _ask(_kitchen(), "object_rel_direction_easy", 40):
        p, o, q = question.trace["objects"]
        assert question.text == (
            f"If I am standing by the {p} and facing the {o} is the {q} to the left or the right of the {o}?"
        )
        cross = np.cross((place[o] - place[p]), (place[q] - place[p]))[2]
        assert cross != 0  # straight ahead or behind is neither
        assert question.answer == ("left" if cross > 0 else "right")


@given(seed=st.integers(0, 1000))
def test_left_and_right_are_equally_often_right(seed: int):
    answers = Counter(q.answer for q in _ask(_kitchen(), "object_rel_direction_easy", 20, seed=seed))
    assert answers == {"left": 10, "right": 10}


def test_margins_leave_out_what_is_too_close_to_call():
    scene = _kitchen()
    for question in _ask(scene, "object_rel_distance", ambiguity=Ambiguity(distance=1.5)):
        nearest, second, *_ = sorted(question.trace["value"])
        assert second - nearest >= 1.5
    angles = [abs(q.trace["value"]) for q in _ask(scene, "object_rel_direction_easy", ambiguity=Ambiguity(angle=50))]
    assert angles
    assert all(50 <= a <= 130 for a in angles)


def test_no_question_is_asked_twice():
    scenes = [make_room(0, i).scene for i in range(20)]
    texts = [(q.scene_id, q.text) for q, _ in build_questions(scenes, "paper", quotas=Quotas())]
    assert len(set(texts)) == len(texts)


def test_the_same_seed_gives_the_same_questions_and_another_gives_others():
    scenes = [make_room(0, i).scene for i in range(5)]
    first, again, other = (list(build_questions(scenes, "paper", quotas=UP_TO_FOUR, seed=s)) for s in (1, 1, 2))
    assert first == again
    assert [q for q, _ in first] != [q for q, _ in other]


def test_one_scene_s_questions_do_not_depend_on_the_others():
    scenes = [make_room(0, i).scene for i in range(4)]
    alone = [q for q, _ in build_questions([scenes[2]], "paper", quotas=UP_TO_FOUR)]
    among = [q for q, s in build_questions(scenes, "paper", quotas=UP_TO_FOUR) if s is scenes[2]]
    assert alone == among


def test_totals_are_met_exactly_where_scenes_have_enough():
    scenes = [make_room(0, i).scene for i in range(30)]
    quotas = Quotas(total={"object_abs_distance": 71, "room_size_estimation": 10})
    tasks = ["object_abs_distance", "room_size_estimation"]
    counts = Counter(q.task for q, _ in build_questions(scenes, "paper", quotas=quotas, tasks=tasks))
    assert counts == {"object_abs_distance": 71, "room_size_estimation": 10}


@given(total=st.integers(0, 200), capacities=st.lists(st.integers(0, 30), max_size=12))
def test_shares_meet_the_total_evenly(total: int, capacities: list[int]):
    shares = share_out(total, capacities)
    assert sum(shares) == min(total, sum(capacities))
    assert all(0 <= s <= c for s, c in zip(shares, capacities, strict=True))
    unfilled = sorted(s for s, c in zip(shares, capacities, strict=True) if s < c)
    assert all(b - a <= 1 for a, b in pairwise(unfilled))
    assert not unfilled or max(shares) <= unfilled[0] + 1  # nobody has more than one above a scene that has room left


def test_an_unknown_rule_set_or_task_lists_what_there_is():
    with pytest.raises(ValueError, match=r"no rule set 'papers'; there is paper, vsibench"):
        build_questions([], "papers")
    with pytest.raises(ValueError, match="has no task 'route_planning'; it has object_counting"):
        build_questions([], "paper", tasks=["route_planning"])


def test_a_scene_without_boxes_gives_only_its_room_size():
    empty = _kitchen(boxes=(), counts={})
    assert [q.task for q, _ in build_questions([empty], "paper")] == ["room_size_estimation"]
