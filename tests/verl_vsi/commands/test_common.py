"""Option groups and exit statuses, with real typer apps; and that every command keeps to them."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import verl_vsi.commands
from verl_vsi.commands._common import command, named_values

RUN = CliRunner(env={"COLUMNS": "120"})


@dataclass(frozen=True)
class Greeting:
    """How one is greeted.

    More about it.
    """

    word: Annotated[str, typer.Option(help="The word.")]
    marks: Annotated[list[str] | None, typer.Option("--mark", help="After it; repeatable.")] = None
    times: Annotated[int, typer.Option(min=1)] = 1

    def __post_init__(self) -> None:
        if self.word == "grr":
            raise ValueError("'grr' is no greeting")


def greeter() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @command()
    def greet(name: Annotated[str, typer.Argument()], how: Greeting, loud: bool = False) -> None:
        """Greet somebody."""
        line = f"{how.word} {name}{''.join(how.marks or ())} " * how.times
        typer.echo(line.upper() if loud else line)

    return app


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["Ada", "--word", "hi"], "hi Ada "),
        (["Ada", "--word", "hi", "--mark", "!", "--mark", "?", "--times", "2"], "hi Ada!? hi Ada!? "),
        (["--loud", "--word", "hi", "Ada"], "HI ADA "),
    ],
)
def test_a_groups_fields_are_options_of_their_own(words: list[str], output: str) -> None:
    assert RUN.invoke(greeter(), words).output == f"{output}\n"


def test_a_group_has_a_heading_of_its_own_in_the_help() -> None:
    output = RUN.invoke(greeter(), ["--help"]).output
    assert output.index("Options") < output.index("How one is greeted") < output.index("--word")
    assert "Greet somebody." in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Ada"], "--word"),  # a group's field without a default is required
        (["Ada", "--word", "hi", "--times", "0"], "--times"),  # typer's own checks hold
        (["Ada", "--word", "grr"], "'grr' is no greeting"),  # and the group's
    ],
)
def test_a_wrong_option_is_wrong_usage(words: list[str], message: str) -> None:
    result = RUN.invoke(greeter(), words)
    assert result.exit_code == 2
    assert message in result.output


class RunFailedError(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("wrong [bold] value"), 2),
        (FileNotFoundError("no file"), 2),
        (PermissionError("not yours"), 2),
        (ImportError("no package"), 2),
        (OSError(28, "no space left"), 1),
        (RunFailedError("the server died"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_expected_error_is_a_line_and_a_status(error: BaseException, status: int) -> None:
    app = typer.Typer()

    @app.command()
    @command(RunFailedError)
    def fail() -> None:
        raise error

    result = RUN.invoke(app, [])
    assert result.exit_code == status
    assert "Traceback" not in result.output
    assert str(error) in result.output


def test_what_the_system_refuses_is_said_with_the_file_first(tmp_path: Path) -> None:
    app = typer.Typer()

    @app.command()
    @command()
    def read() -> None:
        (tmp_path / "none.json").read_text()

    result = RUN.invoke(app, [])
    assert (result.exit_code, result.output.strip()) == (2, f"{tmp_path / 'none.json'}: no such file or directory")


def test_a_defect_keeps_its_traceback() -> None:
    app = typer.Typer()

    @app.command()
    @command()
    def fail() -> None:
        raise RunFailedError("not said to be expected")

    assert isinstance(RUN.invoke(app, []).exception, RunFailedError)


MODULES = sorted(Path(verl_vsi.commands.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_command_ends_by_the_common_rule(path: Path) -> None:
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
            if any(decorator.startswith(("app.command", "app.callback")) for decorator in decorators):
                assert any(decorator.startswith("command(") for decorator in decorators), function.name


SLOW = """
import asyncio, sys, time, typer
from pathlib import Path
from verl_vsi.commands._common import command
from verl_vsi.data_adapters.files import atomic_path

app = typer.Typer()

@app.command()
@command()
def work(folder: Path) -> None:
    with atomic_path(folder / "out.txt") as temporary:
        temporary.write_text("half")
        print("at work", flush=True)
        time.sleep(600)

app()
"""


IN_AN_EVENT_LOOP = SLOW.replace("time.sleep(600)", "asyncio.run(asyncio.sleep(600))")


@pytest.mark.parametrize("code", [SLOW, IN_AN_EVENT_LOOP], ids=["plain", "in an event loop"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cleans_up_and_has_its_status(tmp_path: Path, code: str, number: int, status: int) -> None:
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, "the same command goes on where it was" in said) == (status, True)
    assert not list(tmp_path.iterdir())


def test_words_of_the_form_name_value() -> None:
    assert named_values("--map", ["a=1", "b=x=y", "a=2"], ("a", "b")) == {"a": "2", "b": "x=y"}


@pytest.mark.parametrize("word", ["question", "question=", "fragen=Frage", "=Frage", ""])
def test_a_word_of_another_form_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=f"--map {word}: write FIELD=COLUMN with FIELD one of question, answer"):
        named_values("--map", [word], ("question", "answer"), "FIELD=COLUMN")


INTERRUPTED = """
import os, signal, sys
from verl_vsi import cli

cli.load = lambda name: os.kill(os.getpid(), signal.SIGINT)
cli.main(["doctor"])
"""


def test_an_interrupt_while_a_command_is_imported_has_its_status() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
