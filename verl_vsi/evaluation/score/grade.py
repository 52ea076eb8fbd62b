"""One answer, scored: the benchmark's score, and the paper's reward beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verl_vsi.data_adapters.schema import Kind
from verl_vsi.evaluation.items import Item, Reply, Status
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.rewards import vsgrpo
from verl_vsi.rewards.answers import extract
from verl_vsi.rewards.metrics import exact_match, mean_relative_accuracy


@dataclass(frozen=True)
class Answer:
    """A question, what the model wrote, and what that is worth. Fields are keys of a result's file.

    Args:
        index: the question's row.
        task: question type.
        kind: how it is scored.
        scene_id: whose scene it is about.
        video: what was shown; None: nothing.
        question: without options and mode prompt.
        truth: the answer as text.
        response: what the model wrote.
        extracted: the answer as it was read; empty where nothing was.
        score: exact match or mean relative accuracy, 0 to 1.
        reward: the paper's accuracy reward, 0 to 1, read as in training (``robust``).
        format: 1 where the response keeps to the mode's format; None for vanilla.
        unparsed: nothing was read, or something that is none of the options.
        truncated: cut by the budget of new tokens.
        status: see `Reply`.
        error: see `Reply`.
        supported: whether the frames that were shown show what is asked; None: not known.
    """

    index: int
    task: str
    kind: Kind
    scene_id: str
    video: str | None
    question: str
    truth: str
    response: str
    extracted: str
    score: float
    reward: float
    format: float | None
    unparsed: bool
    truncated: bool
    status: Status
    error: str
    supported: bool | None = None

    @property
    def question_key(self) -> tuple[str, str, str, str]:
        """What was asked, wherever it stands in its file."""
        return self.scene_id, self.task, self.question, self.truth


def grade(item: Item, reply: Reply, protocol: Protocol) -> Answer:
    """Score what came back for a question; a reply that failed or was refused is empty and scores 0.

    Args:
        item: the question.
        reply: what came back.
        protocol: how answers are read.
    """
    extracted = extract(protocol.extraction, reply.text, item.kind, task=item.task, options=item.options)
    reward = paper_reward(item, reply.text, protocol.mode.tag)
    return Answer(
        index=item.index,
        task=item.task,
        kind=item.kind,
        scene_id=item.scene_id,
        video=item.video,
        question=item.question,
        truth=item.truth,
        response=reply.text,
        extracted="" if extracted is None else str(extracted),
        score=score_of(extracted, item.truth),
        reward=reward["reward/accuracy"],
        format=reward.get("reward/format"),
        unparsed=extracted in (None, "") or (item.kind == "choice" and not _is_option(str(extracted), item.options)),
        truncated=reply.finish == "length",
        status=reply.status,
        error=reply.error,
        supported=item.support.get(protocol.frames.choice),
    )


def paper_reward(item: Item, response: str, tag: str | None = None) -> dict[str, float]:
    """The reward of training and its parts, by the names that verl logs.

    Args:
        item: the question.
        response: what the model wrote.
        tag: of the mode; None: vanilla, without a format.
    """
    extra_info = {"task": item.task, "kind": item.kind, "options": item.options, "index": item.index}
    parts = vsgrpo.compute_score(item.data_source, response, item.truth, extra_info, tag=tag)
    return {k: float(v) for k, v in parts.items() if k != "pred"}


def score_of(extracted: float | str | None, truth: str) -> float:
    """VSI-Bench's score of an answer, 0 to 1: exact match of words and letters, mean relative accuracy of numbers.

    Args:
        extracted: the answer as it was read; None: nothing was.
        truth: the answer as text.
    """
    if extracted is None:
        return 0.0
    if isinstance(extracted, str):
        return exact_match(extracted, truth)
    return mean_relative_accuracy(extracted, float(truth))


def _is_option(extracted: str, options: Sequence[str]) -> bool:
    return extracted.lower() in {option.split(".", 1)[0].strip().lower() for option in options}
