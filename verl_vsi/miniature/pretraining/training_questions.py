"""What pretraining says: questions on its own rooms, in every mode's words, mostly vanilla."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random

import numpy as np
from omegaconf import OmegaConf

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.prompts import MODES, user_text
from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.schema import Question
from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, Room

# MERGED Short drills that bring to the tongue what the model has looked up: how many, where, how long, how far, which.
#
# None of them is a question that training or evaluation asks; they only join seeing to saying.


ABSENT = 2
"""Categories asked for that are not there."""
PAIRS = 4
"""Distances asked for in a room."""
NEAREST = 3
"""Choices of the nearest of two to four objects asked for in a room."""
HERE = 3
"""Choices of the one object of four that is there at all."""


def drills_of(room: Room, rng: Random) -> Iterator[tuple[str, str]]:
    """Texts and answers about one room; places and lengths of categories that occur once, metres and centimetres."""
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
        here, *others = rng.sample(singles, rng.randint(3, min(5, len(singles))))
        nearest = min(others, key=lambda box: float(np.linalg.norm(box.point - here.point)))
        yield f"Nearest to {here.category}: {', '.join(b.category for b in others)}?", nearest.category
    for _ in range(HERE if len(absent) > 2 else 0):
        there = rng.choice(sorted(scene.counts))
        listed = [there, *rng.sample(absent, 3)]
        rng.shuffle(listed)
        yield f"Which is here: {', '.join(listed)}?", there


A_ROOM = Quotas(
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
WORDS = (*CATEGORIES, "left", "right", "front", "back")
"""Words that the tokenizer keeps whole."""


@dataclass(frozen=True)
class Prompts:
    """A mode's tag and its prompts for training and for evaluation, from the recipes."""

    tag: str | None
    train: str
    evaluate: str


@dataclass(frozen=True)
class LabelledQuestion:
    """One question as it is taught: what the user says, what is to be answered, about which task."""

    task: str
    text: str
    answer: str


def mode_prompts() -> dict[str, Prompts]:
    """Prompts by mode."""
    folder = files("verl_vsi.recipes") / "mode"
    nodes = {mode: OmegaConf.create((folder / f"{mode}.yaml").read_text()) for mode in MODES}
    return {mode: Prompts(n.tag, n.train_prompt, n.eval_prompt) for mode, n in nodes.items()}


def questions_of(room: Room, rules: str, seed: int) -> list[Question]:
    """Some questions of every task about one room."""
    return [question for question, _ in build_questions([room.scene], rules, seed=seed, quotas=A_ROOM)]


def thought(room: Room, text: str) -> str:
    """What a think or observe response says before its answer: how many there are of what the text speaks of.

    Nothing in it has to be guessed, so it teaches seeing too. A text about the room itself gets two of its objects.
    """
    counts = room.scene.counts
    named = list(dict.fromkeys(NAMED.findall(text))) or sorted(counts)[:2]
    return "I see " + ", ".join(f"{counts.get(name, 0)} {name}" for name in named) + "."


NAMED = re.compile(r"\b(" + "|".join(sorted(CATEGORIES, key=len, reverse=True)) + r")\b")
"""Any category's word."""


def in_mode(question: Question, prompts: Prompts, room: Room, test: bool = False) -> LabelledQuestion:
    """`question` in a mode's words; in think and observe the answer comes in tags, behind a short thought."""
    text = user_text(question.text, question.options, prompts.evaluate if test else prompts.train)
    return LabelledQuestion(
        question.task, text, question.answer if test else formed(text, question.answer, prompts, room)
    )


def formed(text: str, answer: str, prompts: Prompts, room: Room) -> str:
    """An answer to `text` in the form that a mode's training prompt asks for."""
    tag = prompts.tag
    return f"<{tag}>{thought(room, text)}</{tag}> <answer>{answer}</answer>" if tag else answer


def lessons_of(room: Room, count: int, prompts: dict[str, Prompts], rng: Random) -> list[LabelledQuestion]:
    """`count` lessons about one room, tasks evenly: 3 in 4 are the paper's questions in vanilla's training words."""
    paper, lettered = by_task(questions_of(room, "paper", rng.getrandbits(32))), None
    chosen = []
    for _ in range(count):
        form = rng.random()
        if form < OTHER_RULES and lettered is None:
            lettered = by_task(questions_of(room, "vsibench", rng.getrandbits(32)))
        pool = lettered if form < OTHER_RULES and lettered else paper
        task = rng.choice([task for task in pool if pool[task]])
        question = rng.choice(pool[task])
        mode = rng.choice(MODES[1:]) if form > 1 - TAGGED else MODES[0]
        test = rng.random() < TESTED
        chosen.append(in_mode(question, prompts[mode], room, test))
    return chosen


OTHER_RULES, TAGGED, TESTED = 0.06, 0.10, 0.10
"""Shares of VSI-Bench's own questions, of think and observe, and of prompts as evaluation words them."""


def by_task(questions: Sequence[Question]) -> dict[str, list[Question]]:
    """Questions sorted into their tasks."""
    tasks: dict[str, list[Question]] = {}
    for question in questions:
        tasks.setdefault(question.task, []).append(question)
    return tasks


def corpus(rooms: Sequence[Room]) -> Iterator[str]:
    """Sentences that the tokenizer learns its tokens from: all that is asked and said, twice, so that none is rare."""
    prompts = mode_prompts()
    rng = Random(0)
    for _ in range(2):
        for p in prompts.values():
            yield from (p.train, p.evaluate)
        yield from (
            "<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n",
            "Options:\n",
            "These are frames of a video.",
        )
        for room in rooms:
            for rules in ("paper", "vsibench"):
                for question in questions_of(room, rules, 0):
                    yield user_text(question.text, question.options, "")
                    yield f" {question.answer} "
            counts = room.scene.counts
            yield thought(room, " ".join(rng.sample(sorted(counts), min(len(counts), rng.randint(1, 3)))))
            for text, said in drills_of(room, rng):
                yield from (text, said)
