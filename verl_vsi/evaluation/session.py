"""An evaluation as the command line starts it: one server start for all conditions, stopped whatever happens."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape

from verl_vsi.evaluation.checkpoints import Served, as_served
from verl_vsi.evaluation.endpoint import Endpoint
from verl_vsi.evaluation.items import CONDITIONS, Condition, read_set
from verl_vsi.evaluation.protocol import protocol
from verl_vsi.evaluation.result import Result
from verl_vsi.evaluation.run import Task, check_task, evaluate, is_answered
from verl_vsi.evaluation.server import NAME, ServerSpec, serve
from verl_vsi.evaluation.tables import rates_line, result_table
from verl_vsi.evaluation.taskset import TASK_SETS, guess


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
) -> Task:
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
    task = Task(questions, how, wanted, root, store or root / "frames", model="")
    check_task(task)
    return task


def evaluate_conditions(
    task: Task, conditions: Sequence[str], endpoint: Endpoint, server: ServerOptions, out: Path, console: Console
) -> list[Result]:
    """Evaluate under each condition; results are `out`/<condition>.json.

    Args:
        task: what is asked; `task.model` is a folder, a hub name, or the endpoint's model.
        conditions: of `CONDITIONS`.
        endpoint: whom to ask; with an empty base URL a server is started, unless every answer is there.
        server: how to serve.
        out: folder of results, journals and the server's log.
        console: where progress shows.

    Raises:
        ValueError: an unknown condition.
        ServerError, EndpointError, BudgetError, JournalError: see there.
    """
    if unknown := [c for c in conditions if c not in CONDITIONS]:
        raise ValueError(f"condition '{unknown[0]}' is unknown; choose of {', '.join(CONDITIONS)}")
    named: list[tuple[Condition, Path]] = [(cast(Condition, c), out / f"{c}.json") for c in conditions]
    done = all(is_answered(task, condition, path) for condition, path in named)
    results = []
    with _connected(task, endpoint, server, out, done, console) as connected:
        for condition, path in named:
            console.print(f"[bold]{task.name or task.model}[/], {condition}: {CONDITIONS[condition]}")
            results.append(evaluate(task, condition, connected, path, console))
            console.print(f"[dim]{rates_line(results[-1])}; written to {path}[/dim]", soft_wrap=True)
    console.print(result_table(results))
    return results


@contextmanager
def _connected(
    task: Task, endpoint: Endpoint, server: ServerOptions, out: Path, done: bool, console: Console
) -> Iterator[Endpoint]:
    if done or endpoint.base_url:
        yield endpoint
        return
    served: Served = as_served(task.model, fold=server.lora == "fold", console=console)
    spec = ServerSpec(served.model, server.max_model_len, served.adapters, server.extra)
    with console.status(f"starting vLLM on {served.model}"):
        running = serve(spec, out / "server.log")
        url = running.__enter__()
    try:
        yield replace(endpoint, base_url=url, model=next(iter(served.adapters), NAME))
    finally:
        running.__exit__(None, None, None)


@contextmanager
def stopping_cleanly(console: Console) -> Iterator[None]:
    """Say errors in words, and let SIGTERM unwind like Ctrl-C, so that servers stop."""
    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
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
