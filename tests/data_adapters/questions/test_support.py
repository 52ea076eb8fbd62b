"""What sampled frames support, held against the renderer's own object buffer, and answers that are true of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.questions import RULE_SETS, Quotas, build_questions
from verl_vsi.data_adapters.questions.support import FrameAware, true_of_frames
from verl_vsi.data_adapters.schema import Box, Question, Rejected, Scene
from verl_vsi.data_adapters.synthetic_rooms import draw
from verl_vsi.data_adapters.synthetic_rooms.layout import NAMES
from verl_vsi.data_adapters.synthetic_rooms.splits import Drawn
from verl_vsi.data_adapters.visibility import Visibility

FEW = [FrameSpec(sampler="linspace", nframes=count) for count in (1, 2, 3, 4)]
"""Rooms have four frames: fewer leave something out."""


def questions_about(seed: int, wanted: int, per_room: int = 12) -> Iterator[tuple[Drawn, Question]]:
    count, index = 0, 0
    while count < wanted:
        drawn = draw(seed, index)
        for rules in ("paper", "vsibench"):
            quotas = Quotas(per_scene=dict.fromkeys(RULE_SETS[rules].tasks, per_room))
            for question, _ in build_questions([drawn.room.scene], rules, quotas=quotas):
                yield drawn, question
                count += 1
        index += 1


def buffer_says(drawn: Drawn, question: Question, frames: list[int]) -> bool:
    """Whether frames support a question, from pixels alone, by the question's own words."""
    names = [n for n in drawn.room.scene.counts if re.search(rf"\b{n}\b", question.text)]
    seen = [
        (NAMES[category], number, at)
        for number, category in enumerate(drawn.room.categories)
        for at, frame in enumerate(frames)
        if np.count_nonzero(drawn.ids[frame] == number) >= 12
    ]
    if question.task == "object_counting":
        return len({number for name, number, _ in seen if name == names[0]}) == int(question.answer)
    if question.task == "obj_appearance_order":
        order = next(o for o in question.options if o.startswith(question.answer)).split(". ")[1].split(", ")
        firsts = [min((at for name, _, at in seen if name == one), default=None) for one in order]
        return None not in firsts and firsts == sorted(set(firsts), key=firsts.index) == sorted(firsts)  # type: ignore[type-var]
    return set(names) <= {name for name, _, _ in seen}


def test_ten_thousand_questions_agree_with_the_object_buffer() -> None:
    aware, tally = FrameAware(own=FEW[1]), Counter[tuple[str, bool]]()
    for number, (drawn, question) in enumerate(questions_about(5, 10_000)):
        spec = FEW[number % 4]
        labelled = true_of_frames(question, drawn.room.scene, FrameAware(own=spec))
        assert isinstance(labelled, Question)
        frames = np.linspace(0, 3, number % 4 + 1, dtype=int).tolist()
        said = labelled.trace["frames"][spec.choice]["supported"]
        assert said == buffer_says(drawn, question, frames), (drawn.room.name, question, frames)
        tally[question.task, said] += 1
    assert tally.total() >= 10_000
    assert all(tally[task, False] for task, _ in list(tally) if task not in ("room_size_estimation",))
    assert not tally["room_size_estimation", False]
    assert [spec.nframes for spec in aware.choices] == [8, 16, 32, 64, 2]


def scene(shown: list[set[int]], names: str = "chair chair chair tv sofa bed") -> Scene:
    boxes = tuple(Box(n, np.full(3, i), np.ones(3), np.eye(3)) for i, n in enumerate(names.split()))
    visible = Visibility(64, 24.0, tuple(range(64)), tuple(map(frozenset, shown)))
    return Scene("s", "scannet", "scannet/s.mp4", 20.0, boxes, dict(Counter(names.split())), visible=visible)


SEEN = scene([{0, 1}, {63}, {40}, {0}, {5}, set()])
"""Eight evenly spaced frames of 64 are 0, 9, 18, 27, 36, 45, 54, 63: two chairs and the tv."""
EIGHT = FrameSpec(sampler="linspace", nframes=8)


def ask(task: str, objects: list[str], answer: str) -> Question:
    return Question(task, "q?", answer, "number", "s", trace={"objects": objects})


CASES = [
    ("a count of what is seen", ask("object_counting", ["chair"], "3"), "drop", "2"),
    ("distance to what is not seen: dropped", ask("object_abs_distance", ["tv", "sofa"], "1.0"), "drop", None),
    ("or kept as it is", ask("object_abs_distance", ["tv", "sofa"], "1.0"), "keep", "1.0"),
    ("what is seen stays", ask("object_size_estimation", ["tv"], "100"), "drop", "100"),
    ("a count of nothing: dropped", ask("object_counting", ["bed"], "1"), "drop", None),
    ("or none", ask("object_counting", ["bed"], "1"), "keep", "0"),
    ("a room's size asks for no object", ask("room_size_estimation", [], "20.0"), "drop", "20.0"),
]


@pytest.mark.parametrize(("_", "question", "unseen", "answer"), CASES, ids=[case[0] for case in CASES])
def test_answers_follow_the_frames(_: str, question: Question, unseen: str, answer: str | None) -> None:
    result = true_of_frames(question, SEEN, FrameAware(EIGHT, unseen))  # type: ignore[arg-type]
    assert (None if isinstance(result, Rejected) else result.answer) == answer


def test_an_order_is_supported_where_each_shows_first_in_a_frame_of_its_own() -> None:
    question = Question(
        "obj_appearance_order", "q?", "A", "choice", "s", trace={"order": ["tv", "sofa", "bed", "chair"]}
    )
    for firsts, supported in (([0, 9, 18, 27], True), ([0, 9, 9, 27], False), ([0, 18, 9, 27], False)):
        tv, sofa, bed, chair = ({number} for number in firsts)
        result = true_of_frames(question, scene([chair, set(), set(), tv, sofa, bed]), FrameAware(own=EIGHT))
        assert isinstance(result, Question)
        assert result.trace["frames"][EIGHT.choice]["supported"] is supported


def test_an_object_without_a_box_keeps_a_count_from_being_made_true() -> None:
    counted = Scene("s", "scannet", "v", 1.0, SEEN.boxes, {**SEEN.counts, "chair": 4}, visible=SEEN.visible)
    result = true_of_frames(ask("object_counting", ["chair"], "4"), counted, FrameAware(EIGHT))
    assert isinstance(result, Rejected)


def test_a_scene_that_does_not_say_is_left_as_it_is_or_left_out() -> None:
    silent = Scene("s", "scannet", "v", 1.0, SEEN.boxes, SEEN.counts)
    question = ask("object_counting", ["chair"], "3")
    assert true_of_frames(question, silent, FrameAware()) is question
    assert isinstance(true_of_frames(question, silent, FrameAware(EIGHT)), Rejected)


def test_visibility_comes_back_from_json_and_refuses_what_can_not_be() -> None:
    assert SEEN.visible is not None
    node = json.loads(json.dumps(SEEN.visible.to_json()))
    assert Visibility.from_json(node, 6) == SEEN.visible
    with pytest.raises(ValueError, match="6 objects, but the scene has 5 boxes"):
        Visibility.from_json(node, 5)
    with pytest.raises(ValueError, match="no run of frames"):
        Visibility.from_json({**node, "judged": [[0, 10**12]]}, 6)
    with pytest.raises(ValueError, match="was not looked at"):
        Visibility(64, 24.0, (0,), ()).seen([1])
