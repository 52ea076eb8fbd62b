"""An evaluation as the command line starts it: one server start for all conditions, stopped whatever happens."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape

from verl_vsi.evaluation.ask.checkpoints import as_served, identity
from verl_vsi.evaluation.ask.endpoint import Endpoint
from verl_vsi.evaluation.ask.items import CONDITIONS, Condition, read_set
from verl_vsi.evaluation.ask.protocol import protocol
from verl_vsi.evaluation.ask.run import Evaluation, check_task, evaluate, is_answered
from verl_vsi.evaluation.ask.server import NAME, ServerSpec, cpu_arguments, serve
from verl_vsi.evaluation.report.tables import rates_line, usage_line
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.task_columns import TASK_SETS, guess


@dataclass(frozen=True)
class ServerOptions:
    """How a local model is served.

    Args:
        lora: ``fold`` a checkpoint's adapter into the weights, or ``serve`` it as one.
        max_model_len: tokens of prompt and answer; None: the model's own.
        extra: further words of ``vllm serve``.
    """

    lora: str = "fold"
    max_model_len: int | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown way with adapters."""
        if self.lora not in ("fold", "serve"):
            raise ValueError(f"--lora '{self.lora}' is unknown; fold or serve")

    def arguments(self) -> list[str]:
        """Words of ``vllm serve`` that may change an answer."""
        return [*cpu_arguments(), *self.extra]


def make_task(
    rows: Path,
    root: Path | None,
    store: Path | None,
    preset: str,
    mode: str,
    frames: Mapping[str, Any],
    other: Mapping[str, Any],
    tasks: str | None,
    per_task: int | None,
) -> Evaluation:
    """What the command line asks for, checked before anything is started.

    Raises:
        ValueError, FileNotFoundError: what is wrong, and the way out.
    """
    if root is None:
        raise ValueError("the data root is not set: give --root, or set VSI_ROOT, to the folder that holds the videos")
    if tasks is not None and tasks not in TASK_SETS:
        raise ValueError(f"--tasks '{tasks}' is unknown; choose one of {', '.join(TASK_SETS)}")
    how = protocol(preset, mode, frames=frames, **other)
    questions = read_set(rows, limit=per_task, seed=how.seed)
    wanted = TASK_SETS[tasks] if tasks else guess(item.data_source for item in questions.items)
    task = Evaluation(questions, how, wanted, root, store or root / "frames", model="")
    check_task(task)
    return task


@dataclass(frozen=True)
class Job:
    """One evaluation of a model, and the file of its result."""

    task: Evaluation
    condition: Condition
    out: Path


def condition_jobs(task: Evaluation, conditions: Sequence[str], out: Path) -> list[Job]:
    """One job a condition, into `out`/<condition>.json.

    Raises:
        ValueError: an unknown condition.
    """
    if unknown := [c for c in conditions if c not in CONDITIONS]:
        raise ValueError(f"condition '{unknown[0]}' is unknown; choose of {', '.join(CONDITIONS)}")
    return [Job(task, cast(Condition, c), out / f"{c}.json") for c in conditions]


def run_jobs(
    model: str, jobs: Sequence[Job], endpoint: Endpoint, server: ServerOptions, log: Path, console: Console
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
        CheckpointError, ServerError, EndpointError, BudgetError, JournalError: see there.
    """
    served = {} if endpoint.base_url else {**identity(model, server.lora), "arguments": " ".join(server.arguments())}
    jobs = [replace(job, task=replace(job.task, served=served)) for job in jobs]
    answered = [is_answered(job.task, job.condition, job.out) for job in jobs]
    results = []
    with _connected(model, endpoint, server, log, all(answered), console) as connected:
        for job, done in zip(jobs, answered, strict=True):
            before = " (every answer is there from an earlier start)" if done else ""
            console.print(f"[bold]{job.task.name or model}[/], {job.condition}: {CONDITIONS[job.condition]}{before}")
            results.append(evaluate(job.task, job.condition, connected, job.out, console))
            console.print(f"[dim]{rates_line(results[-1])}[/dim]", soft_wrap=True)
            console.print(f"[dim]{usage_line(results[-1])}; written to {job.out}[/dim]", soft_wrap=True)
    return results


@contextmanager
def _connected(
    model: str, endpoint: Endpoint, server: ServerOptions, log: Path, done: bool, console: Console
) -> Iterator[Endpoint]:
    if done or endpoint.base_url:
        yield endpoint
        return
    served = as_served(model, fold=server.lora == "fold", console=console)
    spec = ServerSpec(served.model, server.max_model_len, served.adapters, server.extra)
    with ExitStack() as stack:
        with console.status(f"starting vLLM on {served.model}"):
            url = stack.enter_context(serve(spec, log))
        yield replace(endpoint, base_url=url, model=next(iter(served.adapters), NAME))


@contextmanager
def stopping_cleanly(console: Console) -> Iterator[None]:
    """Say errors in words, and let SIGTERM unwind like Ctrl-C, so that servers stop."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        console.print("stopped; answers so far are kept, the same command goes on")
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)
