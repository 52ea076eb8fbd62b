"""`verl-vsi report`: tables and pictures from results and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(help="Tables and pictures from results and runs.", add_completion=False)
console = Console()


@app.command()
def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Result files of verl-vsi eval.")] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="A training run: its folder, or name=folder; repeatable.")
    ] = None,
    paper: Annotated[
        list[str] | None, typer.Option(help="table1, table2, vsibench, vsibench_tiny, vsibench_blind.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, CSV, LaTeX and pictures.")] = None,
) -> None:
    """Show results beside the papers' rows and each other; draw tasks and training curves."""
    from verl_vsi.evaluation.curves import read_run
    from verl_vsi.evaluation.export import notes
    from verl_vsi.evaluation.report import tables, write_report
    from verl_vsi.evaluation.result import read_result
    from verl_vsi.evaluation.tables import terminal_table

    if not (results or run or paper):
        raise typer.BadParameter("name result files, --run folders or --paper tables")
    try:
        read, runs = [read_result(path) for path in results or ()], [read_run(*_named(r)) for r in run or ()]
        made = tables(read, runs, paper or ())
        for title, rows in made.items():
            console.print(terminal_table(rows, title))
            for note in notes(rows):
                console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)
        for path in write_report(out, made, read, runs) if out else ():
            console.print(f"[dim]written: {path}[/dim]", soft_wrap=True)
    except (ValueError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise SystemExit(1) from error


def _named(text: str) -> tuple[str, str]:
    name, sep, path = text.partition("=")
    return (path, name) if sep and not Path(text).exists() else (text, "")
