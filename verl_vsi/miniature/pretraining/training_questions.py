"""What pretraining says: questions on its own rooms in every mode's words, mostly vanilla, and auxiliary tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.prompts import MODES, user_text
from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.schema import Question
from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, Room
from verl_vsi.evaluation.protocol import Mode, load_mode

QUOTAS = Quotas(
    per_scene={
        t.COUNTING: 3,
        t.ABS_DISTANCE: 4,
        t.OBJECT_SIZE: 3,
        t.ROOM_SIZE: 1,
        t.REL_DISTANCE: 4,
        t.DIRECTION_EASY: 4,
        t.DIRECTION_MEDIUM: 1,
        t.DIRECTION_HARD: 1,
    }
)
VSIBENCH_SHARE, TAGGED_SHARE, EVALUATION_SHARE = 0.06, 0.10, 0.10
"""Shares of VSI-Bench's own questions, of think and observe, and of prompts as evaluation words them."""
WHOLE_WORDS = (*CATEGORIES, "left", "right", "front", "back")
"""Words that the tokenizer keeps whole."""


@dataclass(frozen=True)
class LabelledQuestion:
    """One question to learn from: what the user says, what is to be answered, about which task."""

    task: str
    text: str
    answer: str


def training_questions(room: Room, count: int, rng: Random) -> list[LabelledQuestion]:
    """Questions about one room, tasks evenly: 3 in 4 are the paper's in vanilla's training words.

    Args:
        room: what they are about.
        count: how many.
        rng: draws them.
    """
    paper, vsibench = _by_task(room_questions(room, "paper", rng.getrandbits(32))), None
    labelled = []
    for _ in range(count):
        share = rng.random()
        if share < VSIBENCH_SHARE and vsibench is None:
            vsibench = _by_task(room_questions(room, "vsibench", rng.getrandbits(32)))
        pool = vsibench if share < VSIBENCH_SHARE and vsibench else paper
        task = rng.choice([task for task in pool if pool[task]])
        question = rng.choice(pool[task])
        mode = rng.choice(MODES[1:]) if share > 1 - TAGGED_SHARE else MODES[0]
        evaluation = rng.random() < EVALUATION_SHARE
        labelled.append(label_question(question, load_mode(mode), room, evaluation))
    return labelled


def room_questions(room: Room, rules: str, seed: int) -> list[Question]:
    """Some questions of every task about one room.

    Args:
        room: what they are about.
        rules: ``paper`` or ``vsibench``.
        seed: of their choice.
    """
    return [question for question, _ in build_questions([room.scene], rules, seed=seed, quotas=QUOTAS)]


def _by_task(questions: Sequence[Question]) -> dict[str, list[Question]]:
    tasks: dict[str, list[Question]] = {}
    for question in questions:
        tasks.setdefault(question.task, []).append(question)
    return tasks


def label_question(question: Question, mode: Mode, room: Room, evaluation: bool = False) -> LabelledQuestion:
    """A question in a mode's words, with its answer in the mode's form.

    Args:
        question: from `room_questions`.
        mode: vanilla, think or observe.
        room: what it is about.
        evaluation: worded as in evaluation, and answered without tags.
    """
    text = user_text(question.text, question.options, mode.eval_prompt if evaluation else mode.train_prompt)
    answer = question.answer if evaluation else format_answer(text, question.answer, mode, room)
    return LabelledQuestion(question.task, text, answer)


def format_answer(text: str, answer: str, mode: Mode, room: Room) -> str:
    """An answer in the form that a mode's training prompt asks for: in think and observe in tags, behind a thought.

    Args:
        text: what the user says.
        answer: the bare answer.
        mode: vanilla, think or observe.
        room: what it is about.
    """
    tag = mode.tag
    return f"<{tag}>{thought(room, text)}</{tag}> <answer>{answer}</answer>" if tag else answer


CATEGORY = re.compile(r"\b(" + "|".join(sorted(CATEGORIES, key=len, reverse=True)) + r")\b")
"""Any category's word."""


def thought(room: Room, text: str) -> str:
    """What a think or observe response says before its answer: how many there are of what the text speaks of.

    Nothing in it has to be guessed, so it teaches seeing too. A text about the room itself gets two of its objects.

    Args:
        room: whose objects are counted.
        text: what the user says.
    """
    counts = room.scene.counts
    names = list(dict.fromkeys(CATEGORY.findall(text))) or sorted(counts)[:2]
    return "I see " + ", ".join(f"{counts.get(name, 0)} {name}" for name in names) + "."


ABSENT = 2
"""Categories to find that are not in the room."""
PAIRS = 4
"""Distances of a room."""
NEAREST = 3
"""Choices of the nearest of two to four objects, of a room."""
PRESENT = 3
"""Choices of the one category of four that is in the room."""


def auxiliary_tasks(room: Room, rng: Random) -> Iterator[tuple[str, str]]:
    """Short texts and answers that join seeing to saying: how many, where, how long, how far, which.

    None of them is a question that training or evaluation asks. Places, lengths and distances are of categories that
    occur once, in metres and, for lengths, centimetres.

    Args:
        room: what they are about.
        rng: draws the absent categories, the pairs and the choices.
    """
    scene = room.scene
    yield "Room sides?", f"{room.size[0]:.1f} {room.size[1]:.1f}"
    absent = [name for name in CATEGORIES if name not in scene.counts]
    for name in [*scene.counts, *rng.sample(absent, min(ABSENT, len(absent)))]:
        yield f"Find {name}.", str(scene.counts.get(name, 0))
    singles = scene.singles
    for box in singles:
        yield f"Where is {box.category}?", f"{box.centroid[0]:.1f} {box.centroid[1]:.1f}"
        yield f"How long is {box.category}?", f"{100 * box.extents.max():.0f}"
    pairs = [(a, b) for a in singles for b in singles if a is not b]
    for a, b in rng.sample(pairs, min(PAIRS, len(pairs))):
        yield f"From {a.category} to {b.category}?", f"{np.linalg.norm(a.point - b.point):.1f}"
    for _ in range(NEAREST if len(singles) > 2 else 0):
        anchor, *choices = rng.sample(singles, rng.randint(3, min(5, len(singles))))
        nearest = min(choices, key=lambda box: float(np.linalg.norm(box.point - anchor.point)))
        yield f"Nearest to {anchor.category}: {', '.join(b.category for b in choices)}?", nearest.category
    for _ in range(PRESENT if len(absent) > 2 else 0):
        present = rng.choice(sorted(scene.counts))
        names = [present, *rng.sample(absent, 3)]
        rng.shuffle(names)
        yield f"Which is here: {', '.join(names)}?", present


def tokenizer_corpus(rooms: Sequence[Room]) -> Iterator[str]:
    """Sentences that the tokenizer learns its tokens from: all that is asked and said, twice, so that none is rare."""
    rng = Random(0)
    for _ in range(2):
        for mode in map(load_mode, MODES):
            yield from (mode.train_prompt, mode.eval_prompt)
        yield from (
            "<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n",
            "Options:\n",
            "These are frames of a video.",
        )
        for room in rooms:
            for rules in ("paper", "vsibench"):
                for question in room_questions(room, rules, 0):
                    yield user_text(question.text, question.options, "")
                    yield f" {question.answer} "
            counts = room.scene.counts
            yield thought(room, " ".join(rng.sample(sorted(counts), min(len(counts), rng.randint(1, 3)))))
            for text, answer in auxiliary_tasks(room, rng):
                yield from (text, answer)
