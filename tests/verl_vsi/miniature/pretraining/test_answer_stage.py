"""Saying what one sees: the probes read every category's word in a text, each against its own truth."""

from random import Random

import numpy as np
import pytest
import torch

from verl_vsi import cpu
from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, draw
from verl_vsi.miniature.pretraining.answer_stage import in_a_mode, reminder
from verl_vsi.miniature.pretraining.make_base import _newborn
from verl_vsi.miniature.pretraining.prefix_packing import run_packed
from verl_vsi.miniature.pretraining.probe_stage import READ, Probes, Truth, truth_of
from verl_vsi.miniature.pretraining.training_questions import drills_of, mode_prompts
from verl_vsi.rewards.formats import strict

DRAWN = [draw(5, index) for index in range(3)]


@pytest.fixture(scope="module")
def pupil():
    cpu.prepare()
    return _newborn([drawn.room for drawn in DRAWN], 0)


def test_the_probes_read_each_word_against_the_truth_of_its_own_room(pupil):
    truth, probes = truth_of(tuple(drawn.room for drawn in DRAWN)), Probes(pupil.model.config.text_config.hidden_size)
    asked = ("chair", "table"), ("sofa",)
    rows = [[pupil.pair(f"Find {name}.", "1") for name in names] for names in asked]
    rooms = np.array([2, 0])
    with torch.no_grad():
        packed = run_packed(pupil, np.stack([DRAWN[room].frames for room in rooms]), rows)
        found = reminder(pupil, packed, probes, truth, rooms)
        hidden = packed.hidden_states[READ]
        length = len(rows[0][0][0]) + len(rows[0][0][1])
        word = len(pupil.prefix) + rows[0][0][0].index(pupil.tokenizer.convert_tokens_to_ids("chair"))
        read = torch.stack([hidden[0, word], hidden[0, word + length], hidden[1, word]])
        chair, table, sofa = (list(CATEGORIES).index(name) for name in ("chair", "table", "sofa"))
        at = [2, 2, 0], [chair, table, sofa]
        expected = probes(
            hidden[:, len(pupil.prefix) - 1], read, Truth(truth.counts[at], truth.places[at], truth.sides[[2, 0]])
        )
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("drawn", DRAWN, ids=lambda drawn: drawn.room.name)
def test_what_is_here_is_here_and_the_rest_of_the_list_is_not(drawn):
    said = [pair for pair in drills_of(drawn.room, Random(0)) if pair[0].startswith("Which is here: ")]
    assert said
    for text, answer in said:
        listed = text.removeprefix("Which is here: ").removesuffix("?").split(", ")
        assert [name for name in listed if name in drawn.room.scene.counts] == [answer]


def test_a_drill_in_a_modes_words_is_answered_in_its_form():
    room, prompts, found = DRAWN[0].room, mode_prompts(), set()
    for seed in range(20):
        text, answer = in_a_mode(("Find bed.", "2"), room, prompts, Random(seed))
        mode = next(p for p in prompts.values() if text == f"Find bed.\n{p.train}")
        if mode.tag is None:
            assert answer == "2"
        else:
            assert strict(answer, mode.tag) == 1
            assert answer.endswith("<answer>2</answer>")
        found.add(mode.tag)
    assert found == {None, "think", "observe"}
