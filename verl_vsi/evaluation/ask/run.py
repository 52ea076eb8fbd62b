"""Evaluate one model: serve it once, ask what is not answered yet, score, write. Run again, it goes on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verl_vsi.data_adapters.frames import FrameStore
from verl_vsi.evaluation.ask.checkpoints import as_served, identity
from verl_vsi.evaluation.ask.client import Client, Query
from verl_vsi.evaluation.ask.content_parts import VideoEncoder
from verl_vsi.evaluation.ask.endpoint import Endpoint
from verl_vsi.evaluation.ask.evaluation import Evaluation, Job
from verl_vsi.evaluation.ask.journal import Journal
from verl_vsi.evaluation.ask.server import NAME, ServerSettings, ServerSpec, serve
from verl_vsi.evaluation.items import CONDITIONS, Item, Reply
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.evaluation.score.grade import grade
from verl_vsi.evaluation.score.result import Result, Usage, journal_path, make_result, write_result
from verl_vsi.evaluation.task_columns import column_of


def run_jobs(
    model: str, jobs: Sequence[Job], endpoint: Endpoint, server: ServerSettings, log: Path, console: Console
) -> list[Result]:
    """Evaluate one model, with one start of a server.

    Args:
        model: a folder, a hub name, a verl checkpoint, or the endpoint's model.
        jobs: what to evaluate.
        endpoint: whom to ask; with an empty base URL a server is started, unless every answer is there.
        server: how to serve.
        log: the server's output.
        console: where progress shows.

    Raises:
        CheckpointError, MergeError, ServerError, EndpointError, BudgetError, JournalError: see there.
    """
    served = {} if endpoint.base_url else {**identity(model, server.lora), "arguments": " ".join(server.arguments())}
    jobs = [replace(job, evaluation=replace(job.evaluation, served=served)) for job in jobs]
    answered = [is_answered(job) for job in jobs]
    results = []
    with _connected(model, endpoint, server, log, all(answered), console) as connected:
        for job, is_done in zip(jobs, answered, strict=True):
            title, earlier = job.evaluation.name or model, " (every answer is there from an earlier start)"
            condition = f"{job.condition}: {CONDITIONS[job.condition]}"
            console.print(f"[bold]{title}[/], {condition}{earlier if is_done else ''}")
            results.append(evaluate(job, connected, console))
            console.print(f"[dim]{results[-1].rates_line()}[/dim]", soft_wrap=True)
            console.print(f"[dim]{results[-1].usage.line()}; written to {job.out}[/dim]", soft_wrap=True)
    return results


@contextmanager
def _connected(
    model: str, endpoint: Endpoint, server: ServerSettings, log: Path, answered: bool, console: Console
) -> Iterator[Endpoint]:
    """The endpoint to ask: the one that was named, or a server of ours while the block runs."""
    if answered or endpoint.base_url:
        yield endpoint
        return
    served = as_served(model, lora=server.lora, console=console)
    spec = ServerSpec(served.model, server.max_model_len, served.adapters, server.extra)
    with console.status(f"starting vLLM on {served.model}") as status, serve(spec, log) as url:
        status.stop()
        yield replace(endpoint, base_url=url, model=next(iter(served.adapters), NAME))


def is_answered(job: Job) -> bool:
    """Whether an earlier start has an answer to every question, so that no endpoint is needed.

    Raises:
        JournalError: the journal is another evaluation's.
    """
    if not journal_path(job.out).exists():
        return False
    with _journal(job) as journal:
        return not _unanswered(job, journal)


def evaluate(job: Job, endpoint: Endpoint, console: Console) -> Result:
    """Ask what is not answered yet, score, and write the result; the journal lies beside it.

    Args:
        job: what, under which condition, and where to.
        endpoint: whom; not touched where every question is answered.
        console: where progress shows.

    Raises:
        JournalError, EndpointError, BudgetError: see there. Answers that came are kept.
    """
    evaluation, items = job.evaluation, job.evaluation.items(job.condition)
    with _journal(job) as journal:
        client = Client(endpoint, _spent(journal, endpoint))
        if unanswered := _unanswered(job, journal):
            _ask(evaluation, unanswered, items, client, journal, console)
        usage = _usage(journal, endpoint, client)
        labels = evaluation.labels(job.condition)
        result = make_result(items, journal.replies, evaluation.protocol, labels, usage)
    write_result(job.out, result)
    return result


def _journal(job: Job) -> Journal:
    return Journal(journal_path(job.out), job.evaluation.labels(job.condition).journal_head())


def _unanswered(job: Job, journal: Journal) -> list[Item]:
    """Questions without an answer, failed ones among them, scene by scene."""
    answered = {index for index, reply in journal.replies.items() if reply.status != "failed"}
    items = (item for item in job.evaluation.items(job.condition) if item.index not in answered)
    return sorted(items, key=lambda i: (i.video or "", i.index))


def _ask(
    evaluation: Evaluation,
    unanswered: Sequence[Item],
    items: Sequence[Item],
    client: Client,
    journal: Journal,
    console: Console,
) -> None:
    store = FrameStore(evaluation.store, evaluation.protocol.frames, data_root=evaluation.root)
    videos = VideoEncoder(evaluation.root, store, evaluation.send)
    replies = [reply for reply in journal.replies.values() if reply.status != "failed"]
    score = RunningScore({item.index: item for item in items}, evaluation.protocol, replies)
    queries = (Query(item.index, lambda item=item: _request(evaluation.protocol, videos, item)) for item in unanswered)
    with progress_bar(console) as bar:
        row = bar.add_task("asking", total=len(items), completed=len(items) - len(unanswered), score=score.text)

        def keep(reply: Reply) -> None:
            journal.add(reply)
            score.add(reply)
            bar.update(row, advance=1, score=score.text)

        asyncio.run(client.ask_all(queries, keep))


def _request(protocol: Protocol, videos: VideoEncoder, item: Item) -> dict[str, Any]:
    """Arguments of ``chat.completions.create``: video first, text after, greedy."""
    video = videos.content(item.video)
    content = [*video.parts, {"type": "text", "text": protocol.text(item)}]
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": protocol.max_tokens,
        "temperature": 0.0,
        "seed": protocol.seed,
        "extra_body": video.extra_body,
    }


def _spent(journal: Journal, endpoint: Endpoint) -> float:
    return sum(endpoint.cost(r.prompt_tokens, r.completion_tokens) for r in journal.replies.values())


def _usage(journal: Journal, endpoint: Endpoint, client: Client) -> Usage:
    replies = journal.replies.values()
    return Usage(
        prompt_tokens=sum(r.prompt_tokens for r in replies),
        completion_tokens=sum(r.completion_tokens for r in replies),
        usd=round(_spent(journal, endpoint), 6),
        tries=sum(r.attempts for r in replies),
        errors=dict(client.totals.errors),
    )


class RunningScore:
    """The average over the tasks seen so far; an estimate, since questions come scene by scene.

    Args:
        items: questions by index.
        protocol: how answers are read.
        replies: those of earlier starts.
    """

    def __init__(self, items: Mapping[int, Item], protocol: Protocol, replies: Iterable[Reply] = ()) -> None:  # noqa: D107
        self._items, self._protocol = items, protocol
        self._scores: dict[str, list[float]] = defaultdict(list)
        for reply in replies:
            self.add(reply)

    def add(self, reply: Reply) -> None:
        """Count a reply."""
        item = self._items[reply.index]
        self._scores[column_of(item.task)].append(grade(item, reply, self._protocol).score)

    @property
    def text(self) -> str:
        """For the bar."""
        means = [sum(scores) / len(scores) for scores in self._scores.values()]
        return f"score so far {100 * sum(means) / len(means):.1f}" if means else ""


def progress_bar(console: Console) -> Progress:
    """A bar with the running score in its `score` field."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[score]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
