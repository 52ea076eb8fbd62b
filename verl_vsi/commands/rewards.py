"""`verl-vsi rewards`: what a response scores and why, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from verl_vsi.commands._common import command, console

if TYPE_CHECKING:
    from verl_vsi.rewards.terms import Response

app = typer.Typer(help="Explain a score, term by term.", no_args_is_help=True, add_completion=False)

PAPER = ("accuracy=1", "format=1")
MODES = ("vanilla", "think", "observe")
Modules = Annotated[list[str] | None, typer.Option("--module", help="A Python module with terms of your own.")]


@dataclass(frozen=True)
class RewardOptions:
    """The reward, as a recipe's vsi.reward sets it."""

    mode: Annotated[str, typer.Option(help=f"The run's mode: {', '.join(MODES)}.")] = "vanilla"
    numeric: Annotated[str, typer.Option(help="The numeric score.")] = "min_relative"
    extraction: Annotated[str, typer.Option(help="How the answer is read.")] = "robust"
    format: Annotated[str, typer.Option(help="The format check.")] = "strict"
    term: Annotated[list[str] | None, typer.Option(help="A term and its weight, name=weight; repeatable.")] = None
    module: Modules = None


@app.command("try", context_settings={"ignore_unknown_options": True})  # a response may be -3.5
@command()
def try_(
    response: Annotated[str, typer.Argument(help="What the model wrote.")],
    task: Annotated[str, typer.Option(help="VSI-Bench's task name, e.g. object_counting.")],
    truth: Annotated[str, typer.Option(help="The ground truth: 4, 6.1, left, A.")],
    reward: RewardOptions,
    option: Annotated[list[str] | None, typer.Option(help="An option of a lettered question; repeatable.")] = None,
) -> None:
    """Score one response and say where the score comes from."""
    from verl_vsi.data_adapters.schema import TASKS
    from verl_vsi.rewards.terms import RewardSettings, one_of
    from verl_vsi.rewards.vsgrpo import respond

    one_of("task", task, TASKS)
    weights, tag = _weights(reward.term or PAPER), _tag(reward.mode)
    settings = RewardSettings(
        weights, reward.numeric, reward.extraction, reward.format, tag, modules=reward.module or ()
    )
    _show(respond(f"try/{task}", response, truth, {"options": option or ()}, settings))


@app.command("list")
@command()
def list_(module: Modules = None) -> None:
    """List the terms, numeric scores, extractions and formats by name."""
    from importlib import import_module

    from verl_vsi.rewards.answers import EXTRACTIONS
    from verl_vsi.rewards.formats import FORMATS
    from verl_vsi.rewards.metrics import NUMERIC
    from verl_vsi.rewards.vsgrpo import TERMS

    for name in module or ():
        import_module(name)
    _list("vsi.reward.terms", TERMS)
    _list("vsi.reward.numeric", NUMERIC)
    _list("vsi.reward.extraction", EXTRACTIONS)
    _list("vsi.reward.format", FORMATS)


def _tag(mode: str) -> str | None:
    from verl_vsi.rewards.formats import MODE_TAGS
    from verl_vsi.rewards.terms import one_of

    one_of("mode", mode, MODE_TAGS)
    return MODE_TAGS[mode]


def _weights(terms: Sequence[str]) -> dict[str, float]:
    try:
        return {name: float(weight) for name, _, weight in (term.partition("=") for term in terms)}
    except ValueError:
        raise ValueError(f"--term is name=weight, e.g. accuracy=1.0; got {' '.join(terms)}") from None


def _show(response: Response) -> None:
    from verl_vsi.rewards.vsgrpo import grade

    parts, settings = grade(response), response.settings
    answer = f"[bold]{escape(str(parts['pred']))}[/]"
    if parts["parse_failure"]:
        answer = "[red]nothing[/], a parse failure"
    console.print(f"{settings.extraction} reads {answer}; the truth is {escape(response.truth)}")
    table = Table("term", "value", "weight", "gives", "why", show_footer=True)
    for name, weight in settings.weights.items():
        value = float(parts[f"reward/{name}"])
        table.add_row(name, f"{value:.3f}", f"{weight:g}", f"{value * weight:.3f}", escape(_why(name, response)))
    table.columns[0].footer, table.columns[3].footer = "score", f"{parts['score']:.3f}"
    console.print(table)
    console.print(f"acc {parts['acc']:.3f}: the benchmark's own score (exact match, or MRA for numbers)")


def _why(name: str, response: Response) -> str:
    """The rule behind a term's value, as its function's docstring says it."""
    from verl_vsi.rewards.formats import FORMATS
    from verl_vsi.rewards.metrics import NUMERIC
    from verl_vsi.rewards.terms import TERMS

    settings = response.settings
    if name == "accuracy" and response.kind == "number":
        return f"{settings.numeric}: {_first_line(NUMERIC[settings.numeric])}"
    if name == "format":
        return f"{settings.format}: {_first_line(FORMATS[settings.format])}"
    return _first_line(TERMS[name])


def _list(title: str, named: Mapping[str, Callable[..., Any]]) -> None:
    table = Table("name", "what it is", title=title, title_justify="left", min_width=80)
    for name, function in named.items():
        table.add_row(name, escape(_first_line(function)))
    console.print(table)


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]
