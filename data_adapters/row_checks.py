"""What makes a question or a row fit to train on: texts, a truth that can be true, and one that the reward can reach.

Questions are checked when rows are made (`check_question`), rows of anybody's file when they are audited and before a
run (`row_problem`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, get_args

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.files import relative
from verl_vsi.data_adapters.schema import Kind, Question
from verl_vsi.rewards.answers import extract
from verl_vsi.rewards.metrics import exact_match, is_finite, mean_relative_accuracy
from verl_vsi.rewards.vsgrpo import kind_of

LARGEST: dict[str, tuple[float, str]] = {
    schema.COUNTING: (1_000, "objects"),
    schema.ABS_DISTANCE: (100, "m"),
    schema.OBJECT_SIZE: (2_500, "cm"),
    schema.ROOM_SIZE: (5_000, "m2"),
}
"""Numeric task -> what no truth of an indoor scene exceeds, and its unit; ScanNet's longest boxed object has 546 cm."""

LONGEST_TEXT = 10_000
"""Characters of a question or an option; VSI-Bench's longest question has some 700."""

MOST_OPTIONS = 26
"""One letter each."""

VIDEO = "<video>"


def check_question(question: Question, where: str, extraction: str = "robust") -> None:
    """Refuse a question that no reward could score.

    Args:
        question: what is asked, and the truth.
        where: start of the message.
        extraction: the run's, by which the truth itself must score 1.

    Raises:
        ValueError: no answer; a number that cannot be true; a letter that no option has; an unreachable truth; or a
            text that is empty, too long, or holds control characters.
    """
    if not question.answer.strip():
        raise ValueError(f"{where}: no answer")
    for name, text in (("question", question.text), ("scene", question.scene_id), ("answer", question.answer)):
        _check_text(text, f"{where}: {name}")
    for option in question.options:
        _check_text(option, f"{where}: option")
    problem = truth_problem(question.task, question.answer, question.kind, question.options, extraction)
    if problem:
        raise ValueError(f"{where}: {problem}")


def _check_text(text: object, where: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where} must be a text, got {text!r:.80}")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{where} is too long: {len(text)} characters, of {LONGEST_TEXT} (row_checks.LONGEST_TEXT)")
    control = next((c for c in text if not c.isprintable() and c not in "\n\t\r" and not c.isspace()), None)
    if control is not None:
        raise ValueError(f"{where} holds the control character {control!r}: {text[:80]!r}; clean the texts")


@lru_cache(maxsize=100_000)
def truth_problem(task: str, truth: str, kind: Kind, options: tuple[str, ...], extraction: str) -> str | None:
    """What is wrong with a truth; None: nothing.

    Args:
        task: VSI-Bench's task name, or another.
        truth: as text.
        kind: how it is scored.
        options: ``A. chair``, ... of a lettered question.
        extraction: the run's.
    """
    if not truth.strip():
        return "no answer"
    if kind == "number":
        problem = _number_problem(task, truth)
    else:
        problem = _letter_problem(truth, options) if kind == "choice" else None
    if problem is None and truth_score(task, truth, kind, options, extraction) < 1:
        read = extract(extraction, truth, kind, task=task, options=options)
        problem = (
            f"answer '{truth}' is unreachable: the extraction '{extraction}' reads {read!r} in it, so that no response "
            "scores 1"
        )
    return problem


def _number_problem(task: str, truth: str) -> str | None:
    if not is_finite(truth):
        return f"answer '{truth}' is not a number, but the task is numeric"
    most, unit = LARGEST.get(task, (math.inf, ""))
    value = float(truth)
    if value < 0 or (value == 0 and task in LARGEST and task != schema.COUNTING):
        return f"answer '{truth}' cannot be true: {task} is above 0"
    return f"answer '{truth}' is implausible: {task} is at most {most:g} {unit}" if value > most else None


def _letter_problem(truth: str, options: tuple[str, ...]) -> str | None:
    letters = [option.split(".", 1)[0] for option in options]
    if truth not in letters:
        return f"answer '{truth}' is none of the options {letters[: MOST_OPTIONS + 1]}"
    if len(letters) > MOST_OPTIONS or len(set(letters)) < len(letters) or any(len(letter) != 1 for letter in letters):
        return f"options {letters[: MOST_OPTIONS + 1]} must have one letter each, at most {MOST_OPTIONS}"
    return None


def truth_score(task: str, truth: str, kind: Kind, options: tuple[str, ...], extraction: str) -> float:
    """What a response scores that is the truth itself: exact match, or mean relative accuracy for numbers.

    Args:
        task: as of `truth_problem`.
        truth: as text.
        kind: how it is scored.
        options: of a lettered question.
        extraction: the run's.
    """
    read = extract(extraction, truth, kind, task=task, options=options)
    if read is None:
        return 0.0
    return exact_match(read, truth) if isinstance(read, str) else mean_relative_accuracy(read, float(truth))


def row_problem(row: Mapping[str, Any], extraction: str = "robust") -> str | None:
    """Why a row of anybody's file can't be trained on or asked; None: it can.

    Args:
        row: as parquet gives it.
        extraction: the run's.
    """
    info, videos, model = (row.get(name) for name in ("extra_info", "videos", "reward_model"))
    videos = [] if videos is None else videos
    if not isinstance(info, Mapping | None) or not isinstance(model, Mapping):
        return "extra_info and reward_model must be structures with named fields"
    if not isinstance(videos, list) or not all(isinstance(video, str) for video in videos):
        return f"videos must be a list of paths, got {videos!r:.80}"
    truth = model.get("ground_truth")
    if not isinstance(truth, str):
        return f"reward_model.ground_truth must be a text, got {truth!r:.80}"
    try:
        for video in videos:
            relative(video, "videos")
        return _prompt_problem(row.get("prompt"), len(videos)) or _truth_of_row(row, info or {}, truth, extraction)
    except (TypeError, ValueError) as error:
        return str(error)


def _prompt_problem(prompt: object, videos: int) -> str | None:
    turns = prompt if isinstance(prompt, list) else []
    if not turns or not all(isinstance(turn, Mapping) and isinstance(turn.get("content"), str) for turn in turns):
        return f"prompt must be a list of turns with role and content, got {prompt!r:.80}"
    marks = sum(turn["content"].count(VIDEO) for turn in turns)
    return None if marks == videos else f"the prompt has {marks} marks {VIDEO} for {videos} videos"


def _truth_of_row(row: Mapping[str, Any], info: Mapping[str, Any], truth: str, extraction: str) -> str | None:
    task = str(info.get("task") or str(row.get("data_source")).rpartition("/")[2])
    kind, options = info.get("kind") or kind_of(task, truth), info.get("options")
    if kind not in get_args(Kind):
        return f"kind '{kind}' is unknown; one of {', '.join(get_args(Kind))}"
    if options is not None and not (isinstance(options, list) and all(isinstance(o, str) for o in options)):
        return f"options must be a list of texts, got {options!r:.80}"
    return truth_problem(task, truth, kind, tuple(options or ()), extraction)
