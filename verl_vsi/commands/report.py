"""`verl-vsi report`: tables and pictures from results and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verl_vsi.commands._common import command, console, say

if TYPE_CHECKING:
    from verl_vsi.evaluation.report.contents import Contents

app = typer.Typer(help="Tables and pictures from results and runs.", add_completion=False)


@app.command(epilog="Example: verl-vsi report outputs/miniature_s* --against base --against sft --out outputs/seeds")
@command()
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

    Several results, or training runs, of one name are runs (seeds) of one entry: their means come with standard errors.
    """
    from verl_vsi.evaluation.report.contents import cautions, tables
    from verl_vsi.evaluation.report.report_files import write_report
    from verl_vsi.evaluation.report.table_formats import terminal_table
    from verl_vsi.evaluation.report.tables import row_notes

    if not (results or run or paper):
        raise typer.BadParameter("name results or folders, --run folders or --paper tables")
    contents = _contents(results or [], run or [], against or [], paper or [])
    for title, rows in tables(contents).items():
        console.print(terminal_table(rows, title))
        for note in row_notes(rows):
            say(note, "dim")
    for caution in cautions(contents):
        say(caution, "dim")
    for path in write_report(out, contents) if out else ():
        say(f"written: {path}", "dim")


def _contents(results: list[Path], run: list[str], against: list[str], paper: list[str]) -> Contents:
    from verl_vsi.evaluation.report.contents import Contents, gather
    from verl_vsi.evaluation.report.training_logs import read_run
    from verl_vsi.evaluation.score.seeds import differences

    gathered = [gather(path) for path in results]
    evaluated = [result for group, _ in gathered for result in group]
    trained = [one for _, group in gathered for one in group] + [read_run(*_path_and_name(word)) for word in run]
    return Contents(evaluated, trained, paper, differences(evaluated, against))


def _path_and_name(word: str) -> tuple[str, str]:
    """``name=folder`` in two; a folder whose own name holds ``=`` stays whole."""
    name, sign, path = word.partition("=")
    return (path, name) if sign and not Path(word).exists() else (word, "")
