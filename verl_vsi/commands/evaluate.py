"""`verl-vsi eval`: score a model on VSI-Bench or on rows of your own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verl_vsi.commands._common import FrameOptions, OptionalRoot, command, console, named_values, number, say

if TYPE_CHECKING:
    from verl_vsi.evaluation.ask.content_parts import Send
    from verl_vsi.evaluation.ask.endpoint import Endpoint
    from verl_vsi.evaluation.ask.evaluation import Evaluation
    from verl_vsi.evaluation.ask.paper_tables import TablePlan
    from verl_vsi.evaluation.ask.server import ServerSettings
    from verl_vsi.evaluation.ask.trained_with import TrainedWith

app = typer.Typer(help="Score a model on VSI-Bench or on rows of your own.", add_completion=False)


@dataclass(frozen=True)
class QuestionOptions:
    """Questions."""

    rows: Annotated[Path, typer.Option(help="Questions: a file of verl-vsi data build or bench.")]
    root: OptionalRoot = None
    store: Annotated[Path | None, typer.Option(help="Frame store; default: frames/ under the root.")] = None
    tasks: Annotated[
        str | None, typer.Option(help="The average: vsibench, vsi100k, revsi or present; default: the rows'.")
    ] = None
    tiny: Annotated[bool, typer.Option("--tiny", help="50 questions a task.")] = False
    per_task: Annotated[int | None, number(1, "So many questions a task.")] = None
    condition: Annotated[
        list[str] | None,
        typer.Option(help="normal, shuffled, first-frame, black, blind or removed (asked objects); repeatable."),
    ] = None
    seed: Annotated[int, number(0, "Of draws, shuffling and intervals.")] = 0


@dataclass(frozen=True)
class ProtocolOptions:
    """Protocol."""

    preset: Annotated[
        str | None,
        typer.Option(
            help="run (as the checkpoint was trained), official, harness, revsi or paper; default: the first that can."
        ),
    ] = None
    mode: Annotated[str | None, typer.Option(help="vanilla, think or observe; default: the run's, or vanilla.")] = None
    prompts: Annotated[str | None, typer.Option(help="official, revsi, test or train; default: the preset's.")] = None
    extraction: Annotated[str | None, typer.Option(help="official, harness or robust; default: the preset's.")] = None
    max_tokens: Annotated[int | None, number(1, "New tokens; default: the preset's, or the mode's.")] = None


@dataclass(frozen=True)
class TableOptions:
    """The paper's tables."""

    table: Annotated[str | None, typer.Option(help="1 or 2: the rows of the paper's table that --given allows.")] = None
    given: Annotated[list[str] | None, typer.Option(help="For --table: base=MODEL, sft=..., vsgrpo-t=...")] = None
    size: Annotated[str, typer.Option(help="For --table: the paper's 2B or 7B rows.")] = "2B"


@dataclass(frozen=True)
class ServerOptions:
    """A server of its own."""

    lora: Annotated[str, typer.Option(help="A checkpoint's adapter: fold it in, or serve it as one.")] = "fold"
    max_model_len: Annotated[int | None, number(1, "Tokens of prompt and answer at most.")] = None
    serve_arg: Annotated[list[str] | None, typer.Option(help="A further word of vllm serve; repeatable.")] = None


@dataclass(frozen=True)
class EndpointOptions:
    """Another endpoint."""

    base_url: Annotated[str, typer.Option(help="Ask this OpenAI-compatible endpoint instead.")] = ""
    key_env: Annotated[str, typer.Option(help="Environment variable of its key.")] = "OPENAI_API_KEY"
    send: Annotated[str | None, typer.Option(help="video or images; default: video here, images to --base-url.")] = None
    concurrency: Annotated[int, number(1, "Requests at a time.", high=1024)] = 32
    retries: Annotated[int, number(0, "Further tries of a question.", high=100)] = 5
    price_in: Annotated[float, number(0, "USD a million prompt tokens.", high=None)] = 0.0
    price_out: Annotated[float, number(0, "USD a million new tokens.", high=None)] = 0.0
    max_cost: Annotated[float | None, number(0, "USD; stops before it is exceeded.", high=None)] = None

    def sent_as(self) -> Send:
        """How videos travel."""
        send = self.send or ("images" if self.base_url else "video")
        if send not in ("video", "images"):
            raise ValueError(f"--send '{send}' is unknown; video or images")
        return send


@app.command()
@command(RuntimeError)
def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model folder, a hub name, a verl checkpoint; with --base-url: a name.")
    ] = "",
    *,
    model_option: Annotated[str, typer.Option("--model", help="The same as MODEL, as other clients name it.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the results; run again with the same one to go on.")],
    name: Annotated[str, typer.Option(help="What tables call it.")] = "",
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Write a result also where requests failed or nothing could be read.")
    ] = False,
    questions: QuestionOptions,
    protocol: ProtocolOptions,
    frames: FrameOptions,
    paper: TableOptions,
    local: ServerOptions,
    remote: EndpointOptions,
) -> None:
    """Score a model; one result file a condition, with every label and every answer."""
    from verl_vsi.config.model_shape import patch_size
    from verl_vsi.evaluation.ask.endpoint import Endpoint
    from verl_vsi.evaluation.ask.evaluation import condition_jobs
    from verl_vsi.evaluation.ask.paper_tables import NAMES, plan_table
    from verl_vsi.evaluation.ask.run import run_jobs
    from verl_vsi.evaluation.ask.server import ServerSettings
    from verl_vsi.evaluation.ask.trained_with import trained_with
    from verl_vsi.evaluation.report.looking import looking_tables
    from verl_vsi.evaluation.report.table_formats import results_table, terminal_table

    model = model or model_option
    _check(model, questions, protocol, paper)
    if frames.patch_size is None:
        frames = replace(frames, patch_size=patch_size(model))
    own = None if paper.table or remote.base_url else trained_with(model)
    evaluation = _evaluation(questions, protocol, frames, paper, own)
    evaluation = replace(evaluation, model=model, name=name, incomplete=incomplete, send=remote.sent_as())
    if own is not None:
        say(own.line(evaluation.protocol))
    endpoint = Endpoint(model=model, **{k: v for k, v in vars(remote).items() if k != "send"})
    server = ServerSettings(local.lora, local.max_model_len, tuple(local.serve_arg or ()))
    if paper.table:
        models = named_values("--given", paper.given or [], NAMES, "NAME=MODEL")
        plan = plan_table(paper.table, paper.size, models, evaluation, out, protocol.max_tokens)
        _run_table(plan, endpoint, server, out)
    else:
        jobs = condition_jobs(evaluation, questions.condition or ["normal"], out)
        results = run_jobs(model, jobs, endpoint, server, out / "server.log", console)
        console.print(results_table(results))
        for title, rows in looking_tables(results).items():
            console.print(terminal_table(rows, title))


def _check(model: str, questions: QuestionOptions, protocol: ProtocolOptions, paper: TableOptions) -> None:
    """Refuse options that can't be meant together."""
    if bool(model) == bool(paper.table):
        raise ValueError("name a model, or a --table with --given NAME=MODEL (and not both)")
    if paper.table and (protocol.preset not in (None, "paper") or protocol.mode or questions.condition):
        raise ValueError("--table asks as the paper does: go without --preset, --mode and --condition")


def _evaluation(
    questions: QuestionOptions,
    protocol: ProtocolOptions,
    frames: FrameOptions,
    paper: TableOptions,
    own: TrainedWith | None,
) -> Evaluation:
    from verl_vsi.evaluation.ask.evaluation import make_evaluation
    from verl_vsi.evaluation.items import TINY
    from verl_vsi.evaluation.protocol import make_protocol

    return make_evaluation(
        questions.rows,
        make_protocol(
            protocol.preset or ("paper" if paper.table else "run" if own else "official"),
            protocol.mode,
            run=own.preset if own else None,
            frames=vars(frames),
            prompts=protocol.prompts,
            extraction=protocol.extraction,
            max_tokens=protocol.max_tokens,
            seed=questions.seed,
        ),
        questions.root,
        store=questions.store,
        tasks=questions.tasks,
        per_task=questions.per_task or (TINY if questions.tiny else None),
    )


def _run_table(plan: TablePlan, endpoint: Endpoint, server: ServerSettings, out: Path) -> None:
    from verl_vsi.evaluation.ask.paper_tables import run_plan
    from verl_vsi.evaluation.report.published_comparison import comparison_rows
    from verl_vsi.evaluation.report.table_formats import terminal_table
    from verl_vsi.evaluation.report.tables import row_notes
    from verl_vsi.evaluation.score.published import published

    for row, why in plan.missing.items():
        say(f"row {row} is missing: {why}", "yellow")
    results, failed = run_plan(plan, endpoint, server, out, console)
    printed = published()[f"table{plan.table}"]
    rows = comparison_rows(printed, results)
    console.print(terminal_table(rows, f"{printed.title} ({printed.source})"))
    for note in [*row_notes(rows), *printed.cautions]:
        say(note, "dim")
    for row, why in failed.items():
        say(f"row {row} is missing: {why}", "red")
    if failed:
        raise SystemExit(1)
