"""Stage 3: saying what one sees. Auxiliary tasks and a taste of questions, while the words keep what they hold.

Without the probes of stage 2 this stage un-teaches seeing: the words' hidden states lose counts and sizes within some
hundred steps, and answers become good constants.
"""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from rich.progress import Progress

from verl_vsi.data_adapters.prompts import MODES, user_text
from verl_vsi.data_adapters.synthetic_rooms import Room
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.miniature.pretraining.prefix_packing import PackOutput, TinyVLM, TokenPair, run_packed
from verl_vsi.miniature.pretraining.probe_stage import READ, Probes, Truth, truth_of
from verl_vsi.miniature.pretraining.room_batch import RoomBatch
from verl_vsi.miniature.pretraining.training_loop import train
from verl_vsi.miniature.pretraining.training_questions import auxiliary_tasks, format_answer, training_questions

MODE_SHARE = 0.015
"""The share of auxiliary tasks in a mode's words, answered in the mode's form: enough for tags to come where think and
observe ask for them, mostly, and not where vanilla does."""
ROOMS, TASKS, QUESTIONS = 4, 12, 2
"""Videos a step, and at most so many auxiliary tasks and so many questions about each."""
QUESTION_SHARE = 0.2
"""The share of steps, at the end, with questions too: enough for answers in the right form and of some use, and far
from all that the model could answer from what it sees; that is left to SFT and vsGRPO."""
LEARNING_RATE = 1.5e-3
PROBE_WEIGHT = 0.5
"""Weight of the probes' loss."""


def run_answer_stage(vlm: TinyVLM, room_batch: RoomBatch, steps: int, seed: int, progress: Progress) -> float:
    """Train the whole model to answer.

    Args:
        vlm: the model, changed in place.
        room_batch: what it learns from.
        steps: of the optimizer.
        seed: of all that is drawn, and of the probes.
        progress: where it is shown.

    Returns:
        the last loss, nats a token of the answers plus the weighted probes'.
    """
    rng, truth = Random(f"{seed}/speak"), truth_of(room_batch.rooms)
    torch.manual_seed(seed)
    probes = Probes(vlm.model.config.text_config.hidden_size)

    def loss_at(step: int) -> torch.Tensor:
        indices = rng.sample(range(len(room_batch.rooms)), ROOMS)
        questions = QUESTIONS if step >= (1 - QUESTION_SHARE) * steps else 0
        rows = [token_pairs(vlm, room_batch.rooms[index], questions, rng) for index in indices]
        output = run_packed(vlm, room_batch.frames[indices], rows)
        return output.loss + PROBE_WEIGHT * probe_loss(vlm, output, probes, truth, np.array(indices))

    return train("speak", [*vlm.model.parameters(), *probes.parameters()], loss_at, steps, LEARNING_RATE, progress)


def token_pairs(vlm: TinyVLM, room: Room, questions: int, rng: Random) -> list[TokenPair]:
    """Texts about one room with their answers: auxiliary tasks, then questions in the modes' words.

    Args:
        vlm: whose tokens they are made of.
        room: what they are about.
        questions: how many of these.
        rng: draws all of them.
    """
    tasks = list(auxiliary_tasks(room, rng))
    exchanges = [
        in_some_mode(task, room, rng) if rng.random() < MODE_SHARE else task
        for task in rng.sample(tasks, min(TASKS, len(tasks)))
    ]
    exchanges += [(question.text, question.answer) for question in training_questions(room, questions, rng)]
    return [vlm.token_pair(text, answer) for text, answer in exchanges]


def in_some_mode(task: tuple[str, str], room: Room, rng: Random) -> tuple[str, str]:
    """An auxiliary task in the words of vanilla, think or observe.

    Args:
        task: text and answer.
        room: what it is about.
        rng: draws the mode.
    """
    (text, answer), mode = task, load_mode(rng.choice(MODES))
    return user_text(text, (), mode.train_prompt), format_answer(text, answer, mode, room)


def probe_loss(vlm: TinyVLM, output: PackOutput, probes: Probes, truth: Truth, rooms: np.ndarray) -> torch.Tensor:
    """The probes' loss on every category's word in the texts, wherever it stands, and on the rooms' sides; a scalar.

    Args:
        vlm: whose tokens the texts are made of.
        output: of texts about B rooms.
        probes: readers of hidden states.
        truth: of all rooms.
        rooms: (B,) indices of the rows' rooms in `truth`.
    """
    start, hidden = len(vlm.prefix), output.hidden_states[READ]
    is_category = output.pack.ids[:, start:, None] == torch.tensor(vlm.category_ids)
    rows, columns, categories = is_category.nonzero(as_tuple=True)
    room_of = torch.from_numpy(rooms)[rows]
    words = Truth(truth.counts[room_of, categories], truth.places[room_of, categories], truth.sides[rooms])
    return probes(hidden[:, start - 1], hidden[rows, columns + start], words)
