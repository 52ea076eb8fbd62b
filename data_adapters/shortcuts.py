"""How much of a set can be answered without its videos: a model of the words alone, on scenes it has not seen.

As in "Test-Set Stress-Test" (arXiv 2511.04655) a small model learns answers from question text and metadata, in folds
that share no scene, and is scored like any other. What it gets right needed no looking: objects of usual sizes, answers
that the wording gives away, places that pay. It is a lower bound; a larger model may find more.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.answer_choices import named_choices
from verl_vsi.rewards.metrics import exact_match, is_finite, mean_relative_accuracy

FOLDS = 5
MOST_ROWS = 4000
"""Questions of a task that the model learns from and answers; more are drawn from."""
MOST_ANSWERS = 50
"""Answers of a task that are tried where a question names none."""

RANGES = 30
"""Into which a task's numbers are sorted."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Shortcut:
    """What words alone give in one task.

    Args:
        rows: questions that were answered.
        score: mean score without the video, 0 to 1; None: too few scenes for two folds.
    """

    rows: int
    score: float | None


@dataclass(frozen=True)
class _Question:
    words: list[str]
    truth: str
    candidates: list[str]
    scene: str


def shortcuts(rows: Iterable[Mapping[str, Any]], seed: int = 0) -> dict[str, Shortcut]:
    """Task -> what words alone give.

    Args:
        rows: as `verl_vsi.data_adapters.rows.iter_rows` gives them; those that can't be scored are left out.
        seed: of the draw and the folds.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    _library("linear_model")
    by_task: dict[str, list[_Question]] = defaultdict(list)
    for row in rows:
        question = _question(row)
        if question is not None:
            by_task[str(row["extra_info"]["task"])].append(question)
    return {task: _shortcut(task, by_task[task], seed) for task in schema.TASKS if task in by_task}


def _question(row: Mapping[str, Any]) -> _Question | None:
    info, truth = row["extra_info"], row["reward_model"]["ground_truth"] or ""
    numeric = info["kind"] == "number"
    if not truth or (numeric and not (is_finite(truth) and float(truth) >= 0)):
        return None
    options = tuple(info["options"] or ())
    words = [*_WORD.findall(info["question"].lower()), f"dataset_{info['dataset']}"]
    return _Question(words, truth, named_choices(info["question"], options, info["kind"], truth), str(info["scene_id"]))


def _shortcut(task: str, questions: list[_Question], seed: int) -> Shortcut:
    if len(questions) > MOST_ROWS:
        questions = Random(seed).sample(questions, MOST_ROWS)
    groups = [_room(question.scene) for question in questions]
    if len(set(groups)) < 2:
        return Shortcut(len(questions), None)
    folds = min(FOLDS, len(set(groups)))
    splitter = _library("model_selection").GroupKFold(folds, shuffle=True, random_state=seed)
    answers = _numbers if task in schema.NUMERIC else _choices
    scores = np.zeros(len(questions))
    for learnt, held_out in splitter.split(questions, groups=groups):
        given = answers([questions[i] for i in learnt], [questions[i] for i in held_out])
        for place, answer in zip(held_out, given, strict=True):
            scores[place] = _score(task, answer, questions[place].truth)
    return Shortcut(len(questions), float(scores.mean()))


def _room(scene: str) -> str:
    """ScanNet's scans of one room count as one: ``scene0025_00``, ``scene0025_01``."""
    return scene.partition("_")[0] if re.fullmatch(r"scene\d{4}_\d{2}", scene) else scene


def _score(task: str, answer: str, truth: str) -> float:
    numeric = task in schema.NUMERIC
    return mean_relative_accuracy(float(answer), float(truth)) if numeric else exact_match(answer, truth)


def _numbers(learnt: Sequence[_Question], asked: Sequence[_Question]) -> list[str]:
    """Logistic regression over ranges of answers on words and pairs of words; the answer of the best expected score."""
    vectorizer = _library("feature_extraction.text").TfidfVectorizer(analyzer=_words_and_pairs, sublinear_tf=True)
    features = vectorizer.fit_transform([question.words for question in learnt])
    truths = np.array([float(question.truth) for question in learnt])
    middles = np.unique(np.quantile(truths, np.linspace(0, 1, RANGES), method="nearest"))
    ranges = np.abs(truths[:, None] - middles).argmin(axis=1)
    seen = np.unique(ranges)
    if len(seen) == 1:
        return [str(middles[seen[0]])] * len(asked)
    model = _library("linear_model").LogisticRegression(C=3.0, max_iter=300).fit(features, ranges)
    chances = model.predict_proba(vectorizer.transform([question.words for question in asked]))
    values = np.array([[mean_relative_accuracy(answer, truth) for truth in middles[seen]] for answer in middles])
    return [str(middles[place]) for place in (chances @ values.T).argmax(axis=1)]


def _words_and_pairs(words: Sequence[str]) -> list[str]:
    return [*words, *[f"{a} {b}" for a, b in pairwise(words)]]


def _choices(learnt: Sequence[_Question], asked: Sequence[_Question]) -> list[str]:
    """Logistic regression of "this is the answer" over the candidates of each question; the likeliest is given."""
    usual = [answer for answer, _ in Counter(question.truth for question in learnt).most_common(MOST_ANSWERS)]
    vectorizer = _library("feature_extraction.text").TfidfVectorizer(analyzer=list, sublinear_tf=True)
    pairs = [(question, candidate) for question in learnt for candidate in _candidates(question, usual)]
    is_right = [_letter(candidate) == question.truth for question, candidate in pairs]
    if len(set(is_right)) < 2:
        return [usual[0]] * len(asked)
    model = _library("linear_model").LogisticRegression(C=10.0, max_iter=300)
    model.fit(vectorizer.fit_transform([_joint(*pair, usual) for pair in pairs]), is_right)
    answers = []
    for question in asked:
        candidates = _candidates(question, usual)
        chances = model.predict_proba(vectorizer.transform([_joint(question, c, usual) for c in candidates]))[:, 1]
        answers.append(_letter(candidates[int(chances.argmax())]))
    return answers


def _candidates(question: _Question, usual: list[str]) -> list[str]:
    return question.candidates or usual


def _letter(candidate: str) -> str:
    """Of ``A. chair``; a word is its own."""
    return candidate[0] if re.match(r"[A-Z]\. ", candidate) else candidate


def _joint(question: _Question, candidate: str, usual: list[str]) -> list[str]:
    """Features of a candidate: its words, its place, how often the question names it, and each word beside it."""
    own = _WORD.findall(candidate.lower())
    text = " ".join(own[1:] if _letter(candidate) != candidate else own)
    named = " ".join(question.words).count(text) if text else 0
    place = _candidates(question, usual).index(candidate)
    return [f"is {text}", f"at {place}", f"named {min(named, 3)}", *[f"{word} | {text}" for word in question.words]]


def _library(name: str) -> ModuleType:
    try:
        return import_module(f"sklearn.{name}")
    except ImportError as error:
        raise ImportError("--shortcuts needs scikit-learn; pip install scikit-learn") from error
