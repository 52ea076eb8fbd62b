"""What pretraining says is what the rewards and the recipes ask for."""

from random import Random

import pytest

from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, make_room
from verl_vsi.miniature.pretraining.training_questions import in_mode, lessons_of, mode_prompts, questions_of, thought
from verl_vsi.rewards.vsgrpo import compute_score

ROOM = make_room(3, 0)


@pytest.mark.parametrize("mode", ["vanilla", "think", "observe"])
def test_a_lesson_earns_the_full_reward(mode):
    prompts = mode_prompts()[mode]
    for question in questions_of(ROOM, "paper", 0):
        lesson = in_mode(question, prompts, ROOM)
        row = {"task": question.task, "kind": question.kind}
        terms = {"accuracy": 1.0} | ({"format": 1.0} if prompts.tag else {})
        made = compute_score("", lesson.answer, question.answer, row, terms=terms, tag=prompts.tag)
        assert made["score"] == sum(terms.values()), lesson


def test_evaluation_words_want_the_bare_answer():
    question = questions_of(ROOM, "paper", 0)[0]
    lesson = in_mode(question, mode_prompts()["think"], ROOM, test=True)
    assert lesson.answer == question.answer
    assert lesson.text.endswith("step by step and then answer the question using a single word or phrase.")


def test_lessons_are_mostly_the_papers_and_hold_every_form():
    lessons = lessons_of(ROOM, 2000, mode_prompts(), Random(0))
    assert {lesson.task for lesson in lessons} >= {q.task for q in questions_of(ROOM, "paper", 0)}
    assert 0.7 < sum("one or two words or a number." in x.text and "<" not in x.answer for x in lessons) / 2000 < 0.85
    for sign in ("<think>", "<observe>"):
        assert any(sign in lesson.answer for lesson in lessons)
    assert any("Options:\nA. " in lesson.text and lesson.answer in "ABCD" for lesson in lessons)


def test_a_thought_counts_what_the_text_speaks_of():
    counts = ROOM.scene.counts
    here, absent = next(iter(counts)), next(name for name in CATEGORIES if name not in counts)
    assert thought(ROOM, f"From {absent} to {here}, or to {absent}?") == f"I see 0 {absent}, {counts[here]} {here}."
    first, second = sorted(counts)[:2]
    assert thought(ROOM, "Room sides?") == f"I see {counts[first]} {first}, {counts[second]} {second}."
