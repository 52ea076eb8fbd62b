"""`verl-vsi eval`: score a model on VSI-Bench or on rows of your own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from verl_vsi.evaluation.ask.endpoint import Endpoint
    from verl_vsi.evaluation.ask.session import ServerOptions
    from verl_vsi.evaluation.report.paper_tables import TablePlan

app = typer.Typer(help="Score a model on VSI-Bench or on rows of your own.", add_completion=False)
console = Console()


@app.command()
def evaluate(
    rows: Annotated[Path, typer.Option(help="Questions: a file of verl-vsi data build or bench.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; run again with the same one to go on.")],
    model: Annotated[
        str, typer.Argument(help="A model folder, a hub name, a verl checkpoint; with --base-url: a name.")
    ] = "",
    named: Annotated[str, typer.Option("--model", help="The same as MODEL, in the words of other clients.")] = "",
    root: Annotated[
        Path | None, typer.Option(help="Data root that the rows' videos lie under.", envvar="VSI_ROOT")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Frame store; default: frames/ under the root.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="official, harness or paper; default: official, for --table paper.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="vanilla, think or observe; default: vanilla.")] = None,
    prompts: Annotated[str | None, typer.Option(help="official, test or train; default: the preset's.")] = None,
    extraction: Annotated[
        str | None, typer.Option(help="official, lmms_eval or robust; default: the preset's.")
    ] = None,
    condition: Annotated[list[str] | None, typer.Option(help="normal, shuffled or blind; repeatable.")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="The average: vsibench, vsi100k or present; default: the rows'.")
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="50 questions a task.")] = False,
    per_task: Annotated[int | None, typer.Option(help="So many questions a task.")] = None,
    nframes: Annotated[int | None, typer.Option(help="Frames a video.")] = None,
    sampler: Annotated[str | None, typer.Option(help="qwen or linspace.")] = None,
    min_pixels: Annotated[int | None, typer.Option(help="Fewest pixels a frame.")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Most pixels a frame.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="New tokens; default: the preset's, or the mode's.")] = None,
    seed: Annotated[int, typer.Option(help="Of draws, shuffling and intervals.")] = 0,
    name: Annotated[str, typer.Option(help="What tables call it.")] = "",
    table: Annotated[
        str | None, typer.Option(help="1 or 2: every row of the paper's table that --given allows.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option(help="For --table: base=MODEL, sft=..., dpo=..., vsgrpo-t=...")
    ] = None,
    size: Annotated[str, typer.Option(help="For --table: the paper's 2B or 7B rows.")] = "2B",
    lora: Annotated[str, typer.Option(help="A checkpoint's adapter: fold it in, or serve it as one.")] = "fold",
    max_model_len: Annotated[
        int | None, typer.Option(help="Tokens of prompt and answer that the server allows.")
    ] = None,
    serve_arg: Annotated[list[str] | None, typer.Option(help="A further word of vllm serve; repeatable.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Ask this OpenAI-compatible endpoint instead.")] = None,
    key_env: Annotated[str, typer.Option(help="Environment variable of its key.")] = "OPENAI_API_KEY",
    send: Annotated[
        str | None, typer.Option(help="video or images; default: video here, images to --base-url.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at a time.")] = 32,
    retries: Annotated[int, typer.Option(help="Further tries of a question.")] = 5,
    price_in: Annotated[float, typer.Option(help="USD a million prompt tokens.")] = 0.0,
    price_out: Annotated[float, typer.Option(help="USD a million new tokens.")] = 0.0,
    max_cost: Annotated[float | None, typer.Option(help="USD; stops before it is exceeded.")] = None,
) -> None:
    """Score a model; one result file a condition, with every label and every answer."""
    from verl_vsi.evaluation.ask import session
    from verl_vsi.evaluation.ask.endpoint import Endpoint
    from verl_vsi.evaluation.report import paper_tables
    from verl_vsi.evaluation.report.tables import result_table

    frames = {"nframes": nframes, "sampler": sampler, "min_pixels": min_pixels, "max_pixels": max_pixels}
    other = {"prompts": prompts, "extraction": extraction, "max_tokens": max_tokens, "seed": seed}
    prices = {"price_in": price_in, "price_out": price_out, "max_cost": max_cost}
    model = model or named
    with session.stopping_cleanly(console):
        if bool(model) == bool(table):
            raise ValueError("name a model, or a --table with --given NAME=MODEL (and not both)")
        if table and (preset not in (None, "paper") or mode or condition):
            raise ValueError("--table asks as the paper does: go without --preset, --mode and --condition")
        preset = preset or ("paper" if table else "official")
        per_task = per_task or (50 if tiny else None)
        task = session.make_task(rows, root, store, preset, mode or "vanilla", frames, other, tasks, per_task)
        task = replace(task, model=model, name=name, send=send or ("images" if base_url else "video"))
        endpoint = Endpoint(base_url or "", model, key_env, concurrency, retries, **prices)
        server = session.ServerOptions(lora, max_model_len, tuple(serve_arg or ()))
        if table:
            made = paper_tables.plan(table, size, paper_tables.parse_given(given or []), task, out, max_tokens)
            _table(made, endpoint, server, out)
        else:
            jobs = session.condition_jobs(task, condition or ["normal"], out)
            results = session.run_jobs(model, jobs, endpoint, server, out / "server.log", console)
            console.print(result_table(results))


def _table(made: TablePlan, endpoint: Endpoint, server: ServerOptions, out: Path) -> None:
    from verl_vsi.evaluation.report.files import notes
    from verl_vsi.evaluation.report.paper_tables import run_plan
    from verl_vsi.evaluation.report.published_comparison import published, table_beside
    from verl_vsi.evaluation.report.tables import terminal_table

    for row, why in made.missing.items():
        console.print(f"[yellow]row {row} is missing: {why}[/]", soft_wrap=True)
    results, failed = run_plan(made, endpoint, server, out, console)
    printed = published()[f"table{made.table}"]
    rows = table_beside(printed, results)
    console.print(terminal_table(rows, f"{printed.title} ({printed.source})"))
    for note in [*notes(rows), *printed.cautions]:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)
    for row, why in failed.items():
        console.print(f"[red]row {row} is missing: {escape(why)}[/]", soft_wrap=True)
    if failed:
        raise SystemExit(1)
