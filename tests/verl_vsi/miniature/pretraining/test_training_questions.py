"""What pretraining says is what the rewards and the recipes ask for."""

from random import Random

import pytest

from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, make_room
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.miniature.pretraining.training_questions import (
    label_question,
    room_questions,
    thought,
    training_questions,
)
from verl_vsi.rewards.vsgrpo import compute_score

ROOM = make_room(3, 0)


@pytest.mark.parametrize("name", ["vanilla", "think", "observe"])
def test_a_labelled_answer_earns_the_full_reward(name):
    mode = load_mode(name)
    for question in room_questions(ROOM, "paper", 0):
        labelled = label_question(question, mode, ROOM)
        row = {"task": question.task, "kind": question.kind}
        terms = {"accuracy": 1.0} | ({"format": 1.0} if mode.tag else {})
        score = compute_score("", labelled.answer, question.answer, row, terms=terms, tag=mode.tag)
        assert score["score"] == sum(terms.values()), labelled


def test_evaluation_words_want_the_bare_answer():
    question = room_questions(ROOM, "paper", 0)[0]
    labelled = label_question(question, load_mode("think"), ROOM, evaluation=True)
    assert labelled.answer == question.answer
    assert labelled.text.endswith("step by step and then answer the question using a single word or phrase.")


def test_questions_are_mostly_the_papers_and_hold_every_form():
    questions = training_questions(ROOM, 2000, Random(0))
    assert {question.task for question in questions} >= {q.task for q in room_questions(ROOM, "paper", 0)}
    assert 0.7 < sum("one or two words or a number." in x.text and "<" not in x.answer for x in questions) / 2000 < 0.85
    for sign in ("<think>", "<observe>"):
        assert any(sign in question.answer for question in questions)
    assert any("Options:\nA. " in q.text and q.answer in "ABCD" for q in questions)


def test_a_thought_counts_what_the_text_speaks_of():
    counts = ROOM.scene.counts
    here, absent = next(iter(counts)), next(name for name in CATEGORIES if name not in counts)
    assert thought(ROOM, f"From {absent} to {here}, or to {absent}?") == f"I see 0 {absent}, {counts[here]} {here}."
    first, second = sorted(counts)[:2]
    assert thought(ROOM, "Room sides?") == f"I see {counts[first]} {first}, {counts[second]} {second}."
