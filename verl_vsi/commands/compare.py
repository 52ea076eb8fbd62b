"""`verl-vsi compare`: what differs between two results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from verl_vsi.evaluation.score.comparison import Comparison
    from verl_vsi.evaluation.score.scores import Scores

app = typer.Typer(help="What differs between two results.", add_completion=False)
console = Console()


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A result file of verl-vsi eval.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Say which labels differ, then how B differs from A on the questions that both have."""
    from verl_vsi.evaluation.score import comparison as library
    from verl_vsi.evaluation.score.result import read_result

    try:
        comparison = library.compare(read_result(a), read_result(b))
    except (ValueError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise SystemExit(1) from error
    console.print(_labels(comparison))
    console.print(
        f"{comparison.both} questions in both, {comparison.only_a} only in A, {comparison.only_b} only in B; "
        f"B is better on {comparison.better}, worse on {comparison.worse}"
    )
    for what, scores in comparison.differences.items():
        console.print(_scores(scores, f"{what}, B − A in points: {comparison.wanted.label}"))


def _labels(comparison: Comparison) -> Table | str:
    if not comparison.labels:
        return "no label differs"
    table = Table("label", "A", "B", title="labels that differ")
    for label, values in comparison.labels.items():
        table.add_row(label, *(escape(str(v)) for v in values))
    return table


def _scores(scores: Scores, title: str) -> Table:
    from verl_vsi.evaluation.score.task_columns import SHORT

    table = Table("", "B − A", "95% interval", "n", title=title)
    for name, e in {"average": scores.overall, **scores.tasks}.items():
        apart = "" if e.low <= 0 <= e.high else "  *"
        interval = f"[{100 * e.low:+.1f}, {100 * e.high:+.1f}]{apart}"
        table.add_row(SHORT.get(name, name), f"{100 * e.mean:+.1f}", escape(interval), str(e.n))
    return table
