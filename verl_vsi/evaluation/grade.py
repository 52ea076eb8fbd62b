"""One answer, scored: the benchmark's score, and the paper's reward beside it."""

from __future__ import annotations

from dataclasses import dataclass

from verl_vsi.evaluation.items import Item
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.rewards import vsgrpo
from verl_vsi.rewards.answers import extract
from verl_vsi.rewards.metrics import exact_match, mean_relative_accuracy


@dataclass(frozen=True)
class Grade:
    """What an answer is worth.

    Args:
        extracted: the answer as it was read; empty where nothing was.
        score: exact match or mean relative accuracy, 0 to 1.
        accuracy: the paper's accuracy reward, 0 to 1, read as in training (``robust``).
        format: 1 where the response keeps to the mode's format; None for vanilla.
        unparsed: nothing was read, or something that is none of the options.
    """

    extracted: str
    score: float
    accuracy: float
    format: float | None
    unparsed: bool


def grade(item: Item, text: str, protocol: Protocol) -> Grade:
    """Score a response to a question."""
    answer = extract(protocol.extraction, text, item.kind, task=item.task, options=item.options)
    reward = paper_reward(item, text, protocol.mode.tag)
    return Grade(
        extracted="" if answer is None else str(answer),
        score=_score(answer, item),
        accuracy=reward["reward/accuracy"],
        format=reward.get("reward/format"),
        unparsed=answer is None or answer == "" or (item.kind == "choice" and not _is_option(str(answer), item)),
    )


def paper_reward(item: Item, text: str, tag: str | None = None) -> dict[str, float]:
    """The reward of training and its parts, by the names that verl logs."""
    about = {"task": item.task, "kind": item.kind, "options": item.options, "index": item.index}
    parts = vsgrpo.compute_score(item.data_source, text, item.truth, about, tag=tag)
    return {k: float(v) for k, v in parts.items() if k != "pred"}


def _score(answer: float | str | None, item: Item) -> float:
    if answer is None:
        return 0.0
    if isinstance(answer, str):
        return exact_match(answer, item.truth)
    return mean_relative_accuracy(answer, float(item.truth))


def _is_option(answer: str, item: Item) -> bool:
    return answer.lower() in {option.split(".", 1)[0].strip().lower() for option in item.options}
