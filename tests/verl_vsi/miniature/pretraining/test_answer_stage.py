"""Saying what one sees: the probes read every category's word in a text, each against its own truth."""

from random import Random

import numpy as np
import pytest
import torch

from verl_vsi import cpu
from verl_vsi.data_adapters.prompts import MODES
from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, draw
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.miniature.pretraining.answer_stage import in_some_mode, probe_loss
from verl_vsi.miniature.pretraining.make_base import fresh_vlm
from verl_vsi.miniature.pretraining.prefix_packing import run_packed
from verl_vsi.miniature.pretraining.probe_stage import READ, Probes, Truth, truth_of
from verl_vsi.miniature.pretraining.training_questions import auxiliary_tasks
from verl_vsi.rewards.formats import strict

DRAWINGS = [draw(5, index) for index in range(3)]


@pytest.fixture(scope="module")
def vlm():
    cpu.prepare()
    return fresh_vlm([drawing.room for drawing in DRAWINGS], 0)


def test_the_probes_read_each_word_against_the_truth_of_its_own_room(vlm):
    truth, probes = (
        truth_of(tuple(drawing.room for drawing in DRAWINGS)),
        Probes(vlm.model.config.text_config.hidden_size),
    )
    names = ("chair", "table"), ("sofa",)
    rows = [[vlm.token_pair(f"Find {name}.", "1") for name in row] for row in names]
    rooms = np.array([2, 0])
    with torch.no_grad():
        output = run_packed(vlm, np.stack([DRAWINGS[room].frames for room in rooms]), rows)
        loss = probe_loss(vlm, output, probes, truth, rooms)
        hidden = output.hidden_states[READ]
        length = len(rows[0][0][0]) + len(rows[0][0][1])
        word = len(vlm.prefix) + rows[0][0][0].index(vlm.tokenizer.convert_tokens_to_ids("chair"))
        read = torch.stack([hidden[0, word], hidden[0, word + length], hidden[1, word]])
        chair, table, sofa = (list(CATEGORIES).index(name) for name in ("chair", "table", "sofa"))
        at = [2, 2, 0], [chair, table, sofa]
        expected = probes(
            hidden[:, len(vlm.prefix) - 1], read, Truth(truth.counts[at], truth.places[at], truth.sides[[2, 0]])
        )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("room", [drawing.room for drawing in DRAWINGS], ids=lambda room: room.name)
def test_what_is_here_is_here_and_the_rest_of_the_list_is_not(room):
    choices = [task for task in auxiliary_tasks(room, Random(0)) if task[0].startswith("Which is here: ")]
    assert choices
    for text, answer in choices:
        names = text.removeprefix("Which is here: ").removesuffix("?").split(", ")
        assert [name for name in names if name in room.scene.counts] == [answer]


def test_an_auxiliary_task_in_a_modes_words_is_answered_in_its_form():
    room, tags = DRAWINGS[0].room, set()
    for seed in range(20):
        text, answer = in_some_mode(("Find bed.", "2"), room, Random(seed))
        mode = next(m for m in map(load_mode, MODES) if text == f"Find bed.\n{m.train_prompt}")
        if mode.tag is None:
            assert answer == "2"
        else:
            assert strict(answer, mode.tag) == 1
            assert answer.endswith("<answer>2</answer>")
        tags.add(mode.tag)
    assert tags == {None, "think", "observe"}
