"""What commands print: whole lines into pipes, and one JSON object where it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from verl_vsi.commands._common import command
from verl_vsi.commands._console import console, say

app = typer.Typer()


@app.command()
@command()
def work(fail: bool = False) -> None:
    table = Table("key", "[no_kl]", title="[bold]settings[/]")
    table.add_row("mode", "\\[no_kl]")
    table.add_row(Text("[x]"), "[red]1.5[/]")
    with console.status("busy"), Progress(console=console) as progress:
        progress.advance(progress.add_task("rows", total=1))
        console.print(table, "[bold]done[/]")
    console.print("a [b]\nc", markup=False, highlight=False)
    console.print_json(data={"a": 1})
    say("[brackets] ü", "dim")
    if fail:
        raise ValueError("rows.parquet is not there")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


PRINTED: dict[str, Any] = {
    "tables": [
        {"title": "settings", "columns": ["key", ""], "rows": [["mode", "[no_kl]"], ["[x]", "1.5"]]},
    ],
    "lines": ["done", "a [b]", "c", "{", '  "a": 1', "}", "[brackets] ü"],
}


def test_json_is_all_that_is_printed() -> None:
    status, output = run("--json")
    assert status == 0
    assert json.loads(output) == PRINTED


def test_an_error_is_one_of_the_lines_and_the_status_stays() -> None:
    status, output = run("--json", "--fail")
    assert status == 2
    assert json.loads(output) == {**PRINTED, "lines": [*PRINTED["lines"], "rows.parquet is not there"]}


def test_the_next_command_prints_as_ever() -> None:
    run("--json")
    status, output = run()
    assert status == 0
    assert "settings" in output
    assert "tables" not in output


def test_every_command_of_ours_has_it() -> None:
    from verl_vsi.cli import COMMANDS, load

    for name in COMMANDS:
        command = load(name)
        for child in getattr(command, "commands", {name: command}).values():
            assert any("--json" in parameter.opts for parameter in child.params), (name, child.name)


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["recipes", "list"], ["recipe", "trainer", "what it is"]),
        (["rewards", "list"], None),
        (["report", "--paper", "table2"], None),
    ],
)
def test_what_a_command_of_ours_prints(words: list[str], columns: list[str] | None) -> None:
    command = [sys.executable, "-m", "verl_vsi.cli", *words, "--json"]
    printed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    (table, *_) = printed["tables"]
    assert columns in (None, table["columns"])
    assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_a_pipe_gets_whole_lines() -> None:
    code = "from verl_vsi.commands._common import console, say; say('word ' * 100); console.print('x' * 300)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [len(line.rstrip()) for line in done.stdout.splitlines()] == [499, 300]
