"""Stage 3: saying what one sees. Short drills and a taste of questions, while the words keep what they looked up.

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
from verl_vsi.miniature.pretraining.align_stage import category_ids, train
from verl_vsi.miniature.pretraining.prefix_packing import Packed, Pair, TinyVLM, run_packed
from verl_vsi.miniature.pretraining.probe_stage import READ, Probes, Truth, truth_of
from verl_vsi.miniature.pretraining.room_batch import RoomBatch
from verl_vsi.miniature.pretraining.training_questions import Prompts, drills_of, formed, lessons_of, mode_prompts

IN_A_MODE = 0.015
"""The share of drills that are asked in a mode's words, and answered in the mode's form: enough for tags to come where
think and observe ask for them, mostly, and not where vanilla does."""
ROOMS, DRILLS, QUESTIONS = 4, 12, 2
"""Videos a step, and at most so many drills and so many questions about each."""
TASTE = 0.2
"""The share of steps, at the end, that ask questions too: enough for answers in the right form and of some use, and
far from all that the model could answer from what it sees; that is left to SFT and vsGRPO."""
LEARNING_RATE = 1.5e-3
REMINDER = 0.5
"""Weight of the probes' loss."""


def speak(pupil: TinyVLM, album: RoomBatch, steps: int, seed: int, progress: Progress) -> float:
    """Teach the whole model; returns the last loss (nats a token of the answers, plus the weighted probes')."""
    rng, prompts, truth = Random(f"{seed}/speak"), mode_prompts(), truth_of(album.rooms)
    torch.manual_seed(seed)
    probes = Probes(pupil.model.config.text_config.hidden_size)

    def loss_at(step: int) -> torch.Tensor:
        rooms = rng.sample(range(len(album.rooms)), ROOMS)
        questions = QUESTIONS if step >= (1 - TASTE) * steps else 0
        rows = [texts(pupil, album.rooms[room], questions, prompts, rng) for room in rooms]
        packed = run_packed(pupil, album.frames[rooms], rows)
        return packed.loss + REMINDER * reminder(pupil, packed, probes, truth, np.array(rooms))

    return train("speak", [*pupil.model.parameters(), *probes.parameters()], loss_at, steps, LEARNING_RATE, progress)


def texts(pupil: TinyVLM, room: Room, questions: int, prompts: dict[str, Prompts], rng: Random) -> list[Pair]:
    """What is said about one room: some drills, and `questions` questions in the modes' words."""
    drills = list(drills_of(room, rng))
    said = [
        in_a_mode(drill, room, prompts, rng) if rng.random() < IN_A_MODE else drill
        for drill in rng.sample(drills, min(DRILLS, len(drills)))
    ]
    said += [(lesson.text, lesson.answer) for lesson in lessons_of(room, questions, prompts, rng)]
    return [pupil.pair(text, answer) for text, answer in said]


def in_a_mode(drill: tuple[str, str], room: Room, prompts: dict[str, Prompts], rng: Random) -> tuple[str, str]:
    """A drill in the words of vanilla, think or observe."""
    (text, answer), mode = drill, prompts[rng.choice(MODES)]
    return user_text(text, (), mode.train), formed(text, answer, mode, room)


def reminder(pupil: TinyVLM, packed: Packed, probes: Probes, truth: Truth, rooms: np.ndarray) -> torch.Tensor:
    """The probes' loss on every category's word in the texts, wherever it stands, and on the rooms' sides.

    Args:
        pupil: whose tokens the texts are made of.
        packed: texts about B rooms, as they were read.
        probes: readers of hidden states.
        truth: of all rooms.
        rooms: (B,) places of the rows' rooms in `truth`.
    """
    start, hidden = len(pupil.prefix), packed.hidden_states[READ]
    named = packed.batch.ids[:, start:, None] == torch.tensor(category_ids(pupil))
    rows, columns, categories = named.nonzero(as_tuple=True)
    about = torch.from_numpy(rooms)[rows]
    words = Truth(truth.counts[about, categories], truth.places[about, categories], truth.sides[rooms])
    return probes(hidden[:, start - 1], hidden[rows, columns + start], words)
