"""Stage 3: a taste of questions and answers, on pretraining's own rooms, until the form is right and no further."""

from __future__ import annotations

from random import Random

import torch
from rich.progress import Progress

from verl_vsi.miniature.album import Album
from verl_vsi.miniature.lessons import lessons_of, mode_prompts
from verl_vsi.miniature.pupil import Pair, Pupil, packed_loss
from verl_vsi.miniature.training import train

ROOMS, QUESTIONS = 4, 8
"""Videos a step, and questions about each."""
LEARNING_RATE = 1e-3


def talk(pupil: Pupil, album: Album, steps: int, seed: int, progress: Progress) -> float:
    """Teach the whole model to answer; returns the last loss, nats a token of the answers."""
    rng = Random(f"{seed}/talk")
    prompts = mode_prompts()

    def row(room: int) -> list[Pair]:
        lessons = lessons_of(album.rooms[room], QUESTIONS, prompts, rng)
        return [pupil.pair(lesson.text, lesson.answer) for lesson in lessons]

    def loss_at(_: int) -> torch.Tensor:
        rooms = rng.sample(range(len(album.rooms)), ROOMS)
        return packed_loss(pupil, album.frames[rooms], [row(room) for room in rooms])

    return train("talk", pupil.model.parameters(), loss_at, steps, LEARNING_RATE, progress)
