"""Evaluate one model: serve it once, ask what is not answered yet, score, write. Run again, it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verl_vsi.data_adapters.frames import FrameStore
from verl_vsi.data_adapters.synthetic_rooms.removed import removed_video, render_without
from verl_vsi.data_adapters.untrusted_text import visible
from verl_vsi.evaluation.ask.checkpoints import as_served, identity
from verl_vsi.evaluation.ask.client import Client, Query
from verl_vsi.evaluation.ask.content_parts import VideoEncoder
from verl_vsi.evaluation.ask.endpoint import Endpoint
from verl_vsi.evaluation.ask.evaluation import Evaluation, Job
from verl_vsi.evaluation.ask.journal import Journal
from verl_vsi.evaluation.ask.server import NAME, ServerSettings, ServerSpec, serve
from verl_vsi.evaluation.ask.soundness import HOPELESS, RunningScore, check_answered, check_readable
from verl_vsi.evaluation.conditions import CONDITIONS
from verl_vsi.evaluation.items import Item, Reply
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.evaluation.score.result import Result, Usage, journal_path, make_result, write_result


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
        CheckpointError, MergeError, ServerError, EndpointError, BudgetError, JournalError, UnsoundError: see there.
    """
    served = {} if endpoint.base_url else {**identity(model, server.lora), "arguments": " ".join(server.arguments())}
    jobs = [replace(job, evaluation=replace(job.evaluation, served=served)) for job in jobs]
    answered = [is_answered(job) for job in jobs]
    results = []
    with _connected(model, endpoint, server, log, all(answered), console) as connected:
        for job, is_done in zip(jobs, answered, strict=True):
            title, earlier = job.evaluation.name or model, " (every answer is there from an earlier start)"
            condition = f"{job.condition}: {CONDITIONS[job.condition]}"
            console.print(
                f"[bold]{escape(visible(title))}[/], {condition}{earlier if is_done else ''}", highlight=False
            )
            results.append(evaluate(job, connected, console))
            console.print(f"[dim]{results[-1].rates_line()}[/dim]", soft_wrap=True)
            console.print(f"[dim]{results[-1].usage.line()}; written to {escape(str(job.out))}[/dim]", soft_wrap=True)
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
    with console.status(f"starting vLLM on {escape(served.model)}") as status, serve(spec, log) as url:
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
        JournalError, EndpointError, BudgetError, UnsoundError: see there. Answers that came are kept.
    """
    evaluation, items = job.evaluation, job.evaluation.items(job.condition)
    with _journal(job) as journal:
        client = Client(endpoint, _spent(journal, endpoint), gives_up=not evaluation.incomplete)
        if unanswered := _unanswered(job, journal):
            _ask(evaluation, unanswered, items, client, journal, console)
        usage = _usage(journal, endpoint, client)
        labels = evaluation.labels(job.condition)
        if not labels.served:  # not a server of ours: all that is known of the weights is who says to have answered
            labels = replace(labels, served=_answered_by(endpoint, journal.replies.values()))
        result = make_result(items, journal.replies, evaluation.protocol, labels, usage)
    if not evaluation.incomplete:
        check_answered(result.answers)
        check_readable(result.answers, journal.path)
    write_result(job.out, result)
    return result


def _answered_by(endpoint: Endpoint, replies: Iterable[Reply]) -> dict[str, str]:
    names = sorted({reply.model for reply in replies if reply.model})
    return {"endpoint": endpoint.base_url, **({"answered_by": ", ".join(names)} if names else {})}


def _journal(job: Job) -> Journal:
    return Journal(journal_path(job.out), job.evaluation.labels(job.condition).journal_head())


def _unanswered(job: Job, journal: Journal) -> list[Item]:
    """Questions without an answer, scene by scene; those that failed before come last, since they may fail again."""
    failed = {index for index, reply in journal.replies.items() if reply.status == "failed"}
    answered = journal.replies.keys() - failed
    items = (item for item in job.evaluation.items(job.condition) if item.index not in answered)
    return sorted(items, key=lambda i: (i.index in failed, i.video or "", i.index))


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
    _render_without(evaluation.root, unanswered)
    score = RunningScore({item.index: item for item in items}, evaluation.protocol, journal.replies.values())
    queries = (Query(item.index, lambda item=item: _request(evaluation.protocol, videos, item)) for item in unanswered)
    with progress_bar(console) as bar:
        row = bar.add_task("asking", total=len(items), completed=len(items) - len(unanswered), score=score.text)

        def keep(reply: Reply) -> None:
            journal.add(reply)
            score.add(reply)
            bar.update(row, advance=1, score=score.text)
            if len(score.answers) == HOPELESS and not evaluation.incomplete:
                check_readable(score.answers, journal.path)

        asyncio.run(client.ask_all(queries, keep))


def _render_without(root: Path, items: Sequence[Item]) -> None:
    """Rendered rooms without their asked objects, where an item's video is one."""
    for item in items:
        if item.dataset == "rooms" and item.objects and item.video == removed_video(item.scene_id, item.objects):
            render_without(root, item.scene_id, item.objects)


def _request(protocol: Protocol, videos: VideoEncoder, item: Item) -> dict[str, Any]:
    """Fields of a chat completion's request: video first, text after, greedy."""
    video = videos.content(item)
    content = [*video.parts, {"type": "text", "text": protocol.text(item)}]
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": protocol.max_tokens,
        "temperature": 0.0,
        "seed": protocol.seed,
        **video.more,
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
