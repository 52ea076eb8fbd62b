"""`verl-vsi doctor`."""

from __future__ import annotations

import logging
import warnings
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from verl_vsi.commands._common import command, console

app = typer.Typer(add_completion=False)

MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}


def _table() -> Table:
    table = Table("", "what")
    table.add_column("found", overflow="fold")
    table.add_column("fix", overflow="fold")
    return table


@app.command()
@command()
def doctor(
    decoder: Annotated[str, typer.Option(help="the vsi.frames.decoder to try")] = "pyav",
) -> None:
    """Say what is installed, what is registered, and the way out; exit status 1 where a run would fail."""
    from verl_vsi.doctor import check_functions, run_checks

    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    with console.status("looking: verl is imported, every recipe composed"):
        # what is wrong stands last, where one looks
        checks = sorted(run_checks(check_functions(decoder)), key=lambda check: [*MARKS].index(check.status))
    table = _table()
    for check in checks:
        table.add_row(MARKS[check.status], check.name, escape(check.detail), escape(check.fix))
    console.print(table)
    failed = sum(check.status == "fail" for check in checks)
    console.print(f"[red]{failed} to solve before a run[/]" if failed else "[green]ready[/]")
    raise SystemExit(1 if failed else 0)
