"""What pretraining says: questions on its own rooms, in every mode's words, mostly vanilla."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random

from omegaconf import OmegaConf

from verl_vsi.data_adapters import tasks as t
from verl_vsi.data_adapters.prompts import MODES, user_text
from verl_vsi.data_adapters.questions import Quotas, build_questions
from verl_vsi.data_adapters.rooms import CATEGORIES, Room
from verl_vsi.data_adapters.tasks import Question
from verl_vsi.miniature.drills import drills_of

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
class Lesson:
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


def in_mode(question: Question, prompts: Prompts, room: Room, test: bool = False) -> Lesson:
    """`question` in a mode's words; in think and observe the answer comes in tags, behind a short thought."""
    text = user_text(question.text, question.options, prompts.evaluate if test else prompts.train)
    return Lesson(question.task, text, question.answer if test else formed(text, question.answer, prompts, room))


def formed(text: str, answer: str, prompts: Prompts, room: Room) -> str:
    """An answer to `text` in the form that a mode's training prompt asks for."""
    tag = prompts.tag
    return f"<{tag}>{thought(room, text)}</{tag}> <answer>{answer}</answer>" if tag else answer


def lessons_of(room: Room, count: int, prompts: dict[str, Prompts], rng: Random) -> list[Lesson]:
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
