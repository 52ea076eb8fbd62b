"""How well a miniature answers: every task's benchmark score and the paper's reward, greedy, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from verl_vsi.data_adapters.prompts import user_text
from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.schema import Question
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.evaluation.score.scores import summarise
from verl_vsi.evaluation.task_columns import VSI100K
from verl_vsi.miniature.pretraining.prefix_packing import CLOSING
from verl_vsi.miniature.pretraining.room_batch import RoomBatch
from verl_vsi.miniature.pretraining.tiny_model import GRID, patches
from verl_vsi.rewards.vsgrpo import compute_score

if TYPE_CHECKING:
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM


@dataclass(frozen=True)
class ExamQuestion:
    """A question, the index of its video's room, and what the user says."""

    question: Question
    room: int
    text: str


def run_exam(vlm: TinyVLM, room_batch: RoomBatch, per_task: int, progress: Progress) -> dict[str, dict[str, float]]:
    """Score a model on its rooms' videos, and on those of other rooms (`shuffled`).

    Args:
        vlm: the model.
        room_batch: rooms that it has not seen.
        per_task: questions a task.
        progress: where it is shown.

    Returns:
        for `video` and `shuffled`: `overall` and each task (0 to 1), the paper's `reward`, and `parse_failure`.
    """
    questions, count = exam_questions(room_batch, per_task), len(room_batch.rooms)
    shuffled = [replace(question, room=(question.room + count // 2) % count) for question in questions]
    vlm.model.eval()
    return {
        name: mean_scores(questions, generate_answers(vlm, room_batch.frames, shown, progress))
        for name, shown in {"video": questions, "shuffled": shuffled}.items()
    }


def exam_questions(room_batch: RoomBatch, per_task: int) -> list[ExamQuestion]:
    """The paper's questions in vanilla mode.

    Args:
        room_batch: what they are about.
        per_task: questions a task.
    """
    indices = {room.name: index for index, room in enumerate(room_batch.rooms)}
    quotas = Quotas(total=dict.fromkeys(VSI100K.types or (), per_task))
    prompt = load_mode("vanilla").train_prompt
    pairs = build_questions([room.scene for room in room_batch.rooms], "paper", quotas=quotas)
    return [ExamQuestion(q, indices[scene.id], user_text(q.text, q.options, prompt)) for q, scene in pairs]


VANILLA_TERMS = {"accuracy": 1.0}
"""The paper's reward terms in vanilla mode."""


def mean_scores(questions: Sequence[ExamQuestion], answers: Sequence[str]) -> dict[str, float]:
    """Means of benchmark score, reward and parse failures.

    Args:
        questions: with their true answers.
        answers: a response to each.
    """
    scores = [
        compute_score("", answer, q.answer, {"task": q.task, "kind": q.kind}, terms=VANILLA_TERMS)
        for q, answer in zip((question.question for question in questions), answers, strict=True)
    ]
    tasks = [question.question.task for question in questions]
    summary = summarise(tasks, [float(score["acc"]) for score in scores], VSI100K)
    means = {"overall": summary.overall.mean} | {task: e.mean for task, e in summary.tasks.items()}
    means["reward"] = float(np.mean([float(score["score"]) for score in scores]))
    means["parse_failure"] = float(np.mean([float(score["parse_failure"]) for score in scores]))
    return {name: round(mean, 4) for name, mean in means.items()}


BATCH = 64
VIDEO_TYPE = 2
"""How transformers' `mm_token_type_ids` marks video tokens; without the marks they get the positions of text."""
MAX_NEW_TOKENS = 16
"""Two words or a number need far fewer."""


def generate_answers(
    vlm: TinyVLM,
    frames: NDArray[np.uint8],
    questions: Sequence[ExamQuestion],
    progress: Progress,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[str]:
    """Greedy answers, in order.

    Args:
        vlm: the model.
        frames: (N, 4, 112, 112, 3) uint8, one video a room.
        questions: about these rooms.
        progress: where it is shown.
        max_new_tokens: of an answer.
    """
    import torch

    vlm.tokenizer.padding_side = "left"
    order = sorted(range(len(questions)), key=lambda i: len(questions[i].text))
    task = progress.add_task("answer questions", total=len(questions))
    answers = [""] * len(questions)
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        prompts = [vlm.tokenizer.decode(vlm.prefix) + questions[i].text + CLOSING for i in batch]
        inputs = vlm.tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.inference_mode():
            sequences = vlm.model.generate(
                **inputs,
                mm_token_type_ids=(inputs["input_ids"] == vlm.model.config.video_token_id) * VIDEO_TYPE,
                pixel_values_videos=patches(frames[[questions[i].room for i in batch]]),
                video_grid_thw=torch.tensor([GRID] * len(batch)),
                max_new_tokens=max_new_tokens,
                do_sample=False,
            )
        responses = sequences[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(batch, vlm.tokenizer.batch_decode(responses, skip_special_tokens=True), strict=True):
            answers[i] = text
        progress.advance(task, len(batch))
    return answers
