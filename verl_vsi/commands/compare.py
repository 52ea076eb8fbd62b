"""`verl-vsi compare`: what differs between two results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from verl_vsi.commands._common import command, console

if TYPE_CHECKING:
    from verl_vsi.evaluation.score.comparison import Comparison
    from verl_vsi.evaluation.score.scores import Scores

app = typer.Typer(help="What differs between two results.", add_completion=False)


@app.command()
@command()
def compare(
    a: Annotated[Path, typer.Argument(help="A result file of verl-vsi eval.")],
    b: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Say which labels differ, then how B differs from A on the questions that both have."""
    from verl_vsi.evaluation.score.comparison import compare as compare_results
    from verl_vsi.evaluation.score.result import read_result

    comparison = compare_results(read_result(a), read_result(b))
    console.print(_labels(comparison))
    console.print(
        f"{comparison.both} questions in both, {comparison.only_a} only in A, {comparison.only_b} only in B; "
        f"B is better on {comparison.better}, worse on {comparison.worse}"
    )
    for measure, scores in comparison.differences.items():
        console.print(_scores(scores, f"{measure}, B − A in points: {comparison.task_set.label}"))


def _labels(comparison: Comparison) -> Table | str:
    if not comparison.labels:
        return "no label differs"
    table = Table("label", "A", "B", title="labels that differ")
    for label, values in comparison.labels.items():
        table.add_row(label, *(escape(str(v)) for v in values))
    return table


def _scores(scores: Scores, title: str) -> Table:
    from verl_vsi.evaluation.task_columns import SHORT

    table = Table("", "B − A", "95% interval", "n", title=title)
    for name, e in {"average": scores.overall, **scores.tasks}.items():
        star = "" if e.low <= 0 <= e.high else "  *"
        interval = f"[{100 * e.low:+.1f}, {100 * e.high:+.1f}]{star}"
        table.add_row(SHORT.get(name, name), f"{100 * e.mean:+.1f}", escape(interval), str(e.n))
    return table
