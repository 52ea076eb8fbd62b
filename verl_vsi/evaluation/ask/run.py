"""One evaluation from questions to a result, journaled on the way; run again, it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from verl_vsi.data_adapters.files import inside
from verl_vsi.data_adapters.frames import FrameStore
from verl_vsi.evaluation.ask.client import Client, Query
from verl_vsi.evaluation.ask.endpoint import Endpoint
from verl_vsi.evaluation.ask.items import Condition, Item, QuestionSet, under
from verl_vsi.evaluation.ask.journal import Journal, Reply
from verl_vsi.evaluation.ask.progress import RunningScore, progress_bar
from verl_vsi.evaluation.ask.protocol import Protocol
from verl_vsi.evaluation.ask.videos import Send, Videos
from verl_vsi.evaluation.score.result import ROW_LABEL, Result, make_result, write_result
from verl_vsi.evaluation.score.task_columns import TaskSet, check


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and how.

    Args:
        questions: what to ask.
        protocol: how to ask and read.
        wanted: the tasks of the average.
        root: data root of the videos.
        store: the frame store's folder.
        model: the label of the model, e.g. its folder.
        name: what tables call it; empty: the model's label.
        send: how videos travel.
        table_row: the row of the paper's tables that this is, as `PublishedRow.key` names it.
        served: which weights, and how they are served; answers of others are not taken for this model's.
    """

    questions: QuestionSet
    protocol: Protocol
    wanted: TaskSet
    root: Path
    store: Path
    model: str
    name: str = ""
    send: Send = "video"
    table_row: str = ""
    served: Mapping[str, str] = field(default_factory=dict)

    def labels(self, condition: Condition) -> dict[str, Any]:
        """What the scores depend on beside the protocol."""
        return {
            "name": self.name,
            "model": self.model,
            **({"served": dict(self.served)} if self.served else {}),
            "condition": condition,
            "set": self.questions.name,
            "data": dict(self.questions.fingerprint),
            **({ROW_LABEL: self.table_row} if self.table_row else {}),
            "sent as": {"video": "a video of PNG frames", "images": "PNG images"}[self.send],
        }


def check_task(task: Evaluation) -> None:
    """Refuse before a model is loaded what would fail after.

    Raises:
        MissingTaskError: a task of the average has no question.
        FileNotFoundError: videos are missing; says how many and which first.
    """
    check([item.task for item in task.questions.items], task.wanted)
    videos = sorted({item.video for item in task.questions.items if item.video})
    missing = [video for video in videos if not inside(task.root, video).exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(videos)} videos are not under {task.root}, the first: {missing[0]}. "
            "Set --root (or VSI_ROOT) to the folder that the rows' paths start from"
        )


def is_answered(task: Evaluation, condition: Condition, out: Path) -> bool:
    """Whether an earlier start has an answer to every question, so that no endpoint is needed.

    Raises:
        JournalError: the journal is another evaluation's.
    """
    if not journal_path(out).exists():
        return False
    with Journal(journal_path(out), _head(task, condition)) as journal:
        return not _left(task, condition, journal)


def evaluate(task: Evaluation, condition: Condition, endpoint: Endpoint, out: Path, console: Console) -> Result:
    """Ask what is not answered yet, score, and write `out`; the journal lies beside it.

    Args:
        task: what and how.
        condition: normal, shuffled or blind.
        endpoint: whom; not touched where every question is answered.
        out: the result's file.
        console: where progress shows.

    Raises:
        JournalError, EndpointError, BudgetError: see there. Answers that came are kept.
    """
    items = under(task.questions.items, condition, task.protocol.seed)
    with Journal(journal_path(out), _head(task, condition)) as journal:
        client = Client(endpoint, _spent(journal, endpoint))
        if left := _left(task, condition, journal):
            _ask(task, left, items, client, journal, console)
        usage = _usage(journal, endpoint, client)
        result = make_result(items, journal.replies, task.protocol, task.wanted, task.labels(condition), usage)
    write_result(out, result)
    return result


def _ask(
    task: Evaluation, left: Sequence[Item], items: Sequence[Item], client: Client, journal: Journal, console: Console
) -> None:
    videos = Videos(task.root, FrameStore(task.store, task.protocol.frames, data_root=task.root), task.send)
    replies = [reply for reply in journal.replies.values() if reply.status != "failed"]
    score = RunningScore({item.index: item for item in items}, task.protocol, replies)
    queries = (Query(item.index, lambda item=item: _request(task, videos, item)) for item in left)
    with progress_bar(console) as bar:
        row = bar.add_task("asking", total=len(items), completed=len(items) - len(left), score=score.said)

        def keep(reply: Reply) -> None:
            journal.add(reply)
            score.add(reply)
            bar.update(row, advance=1, score=score.said)

        asyncio.run(client.ask_all(queries, keep))


def _request(task: Evaluation, videos: Videos, item: Item) -> dict[str, Any]:
    """Arguments of ``chat.completions.create``: video first, text after, greedy."""
    media = videos.media(item.video)
    content = [*media.parts, {"type": "text", "text": task.protocol.text(item)}]
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": task.protocol.max_tokens,
        "temperature": 0.0,
        "seed": task.protocol.seed,
        "extra_body": media.extra_body,
    }


def _left(task: Evaluation, condition: Condition, journal: Journal) -> list[Item]:
    """Questions without an answer, failed ones among them, scene by scene."""
    answered = {index for index, reply in journal.replies.items() if reply.status != "failed"}
    items = under(task.questions.items, condition, task.protocol.seed)
    return sorted((i for i in items if i.index not in answered), key=lambda i: (i.video or "", i.index))


def _head(task: Evaluation, condition: Condition) -> dict[str, Any]:
    labels = {**task.labels(condition), **task.protocol.labels()}
    return {k: v for k, v in labels.items() if k != "name"}


def journal_path(out: Path) -> Path:
    """Of the journal beside a result."""
    return out.with_suffix(".journal.jsonl")


def _spent(journal: Journal, endpoint: Endpoint) -> float:
    return sum(endpoint.cost(r.prompt_tokens, r.completion_tokens) for r in journal.replies.values())


def _usage(journal: Journal, endpoint: Endpoint, client: Client) -> dict[str, Any]:
    replies = journal.replies.values()
    return {
        "prompt_tokens": sum(r.prompt_tokens for r in replies),
        "completion_tokens": sum(r.completion_tokens for r in replies),
        "usd": round(_spent(journal, endpoint), 6),
        "tries": sum(r.attempts for r in replies),
        "errors in this start": dict(client.totals.errors),
    }
