"""How well a miniature answers: every task's benchmark score and the paper's reward, greedy, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from verl_vsi.data_adapters.prompts import user_text
from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.schema import Question
from verl_vsi.evaluation.score.scores import summarise
from verl_vsi.evaluation.task_columns import VSI100K
from verl_vsi.miniature.pretraining.prefix_packing import CLOSING
from verl_vsi.miniature.pretraining.room_batch import RoomBatch
from verl_vsi.miniature.pretraining.tiny_model import GRID, patches
from verl_vsi.miniature.pretraining.training_questions import mode_prompts
from verl_vsi.rewards.vsgrpo import compute_score

if TYPE_CHECKING:
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM

BATCH = 64
VIDEO_TYPE = 2
"""How transformers' `mm_token_type_ids` marks video tokens; without the marks they get the positions of text."""
LONGEST = 16
"""Tokens of an answer; two words or a number need far fewer."""


@dataclass(frozen=True)
class Asked:
    """A question, the place of its video in the album, and what the user says."""

    question: Question
    room: int
    text: str


def examine(pupil: TinyVLM, album: RoomBatch, per_task: int, progress: Progress) -> dict[str, dict[str, float]]:
    """Score the pupil on its rooms' videos, and on those of other rooms (`shuffled`).

    Returns:
        for `video` and `shuffled`: `overall` and each task (0 to 1), the paper's `reward`, and `parse_failure`.
    """
    asked = exam(album, per_task)
    others = [Asked(a.question, (a.room + len(album.rooms) // 2) % len(album.rooms), a.text) for a in asked]
    pupil.model.eval()
    return {
        name: grade(asked, answer(pupil, album.frames, shown, progress))
        for name, shown in {"video": asked, "shuffled": others}.items()
    }


def exam(album: RoomBatch, per_task: int) -> list[Asked]:
    """`per_task` of the paper's questions a task over the album's rooms, in vanilla mode."""
    places = {room.name: i for i, room in enumerate(album.rooms)}
    quotas = Quotas(total=dict.fromkeys(VSI100K.types or (), per_task))
    prompt = mode_prompts()["vanilla"].train
    made = build_questions([room.scene for room in album.rooms], "paper", quotas=quotas)
    return [Asked(q, places[scene.id], user_text(q.text, q.options, prompt)) for q, scene in made]


def grade(asked: Sequence[Asked], answers: Sequence[str]) -> dict[str, float]:
    """Means of benchmark score, reward and parse failures."""
    marks = [
        compute_score("", text, a.question.answer, {"task": a.question.task, "kind": a.question.kind}, terms=VANILLA)
        for a, text in zip(asked, answers, strict=True)
    ]
    tasks = [a.question.task for a in asked]
    scores = summarise(tasks, [float(m["acc"]) for m in marks], VSI100K)
    means = {"overall": scores.overall.mean} | {task: e.mean for task, e in scores.tasks.items()}
    means["reward"] = float(np.mean([float(m["score"]) for m in marks]))
    means["parse_failure"] = float(np.mean([float(m["parse_failure"]) for m in marks]))
    return {name: round(mean, 4) for name, mean in means.items()}


VANILLA = {"accuracy": 1.0}
"""The paper's reward terms in vanilla mode."""


def answer(
    pupil: TinyVLM, frames: NDArray[np.uint8], asked: Sequence[Asked], progress: Progress, longest: int = LONGEST
) -> list[str]:
    """Greedy answers, in order.

    Args:
        pupil: the model.
        frames: (N, 4, 112, 112, 3) uint8, one video a room.
        asked: questions about these rooms.
        longest: new tokens at most.
    """
    import torch

    pupil.tokenizer.padding_side = "left"
    order = sorted(range(len(asked)), key=lambda i: len(asked[i].text))
    task = progress.add_task("answer questions", total=len(asked))
    answers = [""] * len(asked)
    for at in range(0, len(order), BATCH):
        chosen = order[at : at + BATCH]
        prompts = [pupil.tokenizer.decode(pupil.prefix) + asked[i].text + CLOSING for i in chosen]
        inputs = pupil.tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.inference_mode():
            made = pupil.model.generate(
                **inputs,
                mm_token_type_ids=(inputs["input_ids"] == pupil.model.config.video_token_id) * VIDEO_TYPE,
                pixel_values_videos=patches(frames[[asked[i].room for i in chosen]]),
                video_grid_thw=torch.tensor([GRID] * len(chosen)),
                max_new_tokens=longest,
                do_sample=False,
            )
        texts = pupil.tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            answers[i] = text
        progress.advance(task, len(chosen))
    return answers
