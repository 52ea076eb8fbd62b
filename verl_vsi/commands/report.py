"""`verl-vsi report`: tables and pictures from results and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from verl_vsi.evaluation.report.contents import Contents

app = typer.Typer(help="Tables and pictures from results and runs.", add_completion=False)
console = Console()


@app.command(epilog="Example: verl-vsi report outputs/miniature_s* --against base --against sft --out outputs/seeds")
def report(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results of verl-vsi eval, or folders: all results and training runs under them."),
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="A training run: its folder, or name=folder; repeatable.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Show the others' differences from the results of this name; repeatable.")
    ] = None,
    paper: Annotated[
        list[str] | None, typer.Option(help="table1, table2, vsibench, vsibench_tiny, vsibench_blind.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, CSV, LaTeX, JSON and pictures.")] = None,
) -> None:
    """Show results beside the papers' rows and each other, and draw tasks and training curves.

    Several results, or training runs, of one name are runs (seeds) of one thing: their means come with standard errors.
    """
    from verl_vsi.evaluation.report.contents import cautions, tables
    from verl_vsi.evaluation.report.files import notes, write_report
    from verl_vsi.evaluation.report.tables import terminal_table

    if not (results or run or paper):
        raise typer.BadParameter("name results or folders, --run folders or --paper tables")
    try:
        contents = _contents(results or [], run or [], against or [], paper or [])
        for title, rows in tables(contents).items():
            console.print(terminal_table(rows, title))
            for note in notes(rows):
                console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)
        for caution in cautions(contents):
            console.print(f"[dim]{escape(caution)}[/dim]", soft_wrap=True)
        for path in write_report(out, contents) if out else ():
            console.print(f"[dim]written: {path}[/dim]", soft_wrap=True)
    except (ValueError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise SystemExit(1) from error


def _contents(results: list[Path], run: list[str], against: list[str], paper: list[str]) -> Contents:
    from verl_vsi.evaluation.report.contents import Contents, gather
    from verl_vsi.evaluation.report.training_logs import read_run
    from verl_vsi.evaluation.score.seeds import differences

    gathered = [gather(path) for path in results]
    found = [result for some, _ in gathered for result in some]
    runs = [one for _, some in gathered for one in some] + [read_run(*_named(r)) for r in run]
    return Contents(found, runs, paper, differences(found, against))


def _named(text: str) -> tuple[str, str]:
    name, sep, path = text.partition("=")
    return (path, name) if sep and not Path(text).exists() else (text, "")
