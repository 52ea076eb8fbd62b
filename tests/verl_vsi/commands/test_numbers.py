"""Numbers out of range are refused by every command, before it does anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, get_args, get_origin

import pytest
import typer
from typer.testing import CliRunner

from verl_vsi.cli import _MODULES, COMMANDS


def functions(app: typer.Typer) -> Iterator[tuple[list[str], Callable[..., Any]]]:
    """The functions behind an app, each with the words that lead to it."""
    assert not app.registered_groups, "walk them as well"
    main = app.registered_callback
    if main is not None and main.callback is not None:
        yield [], main.callback
    for info in app.registered_commands:
        assert info.callback is not None
        is_alone = main is None and len(app.registered_commands) == 1
        yield [] if is_alone else [info.name or info.callback.__name__], info.callback


def numbers() -> Iterator[Any]:
    """Every option that is a number: its app, the words before it, its name, its kind and what typer knows of it."""
    for name in COMMANDS:
        app = import_module(f"verl_vsi.commands.{_MODULES.get(name, name)}").app
        for words, function in functions(app):
            for parameter in inspect.signature(function).parameters.values():
                kind, *extras = (
                    get_args(parameter.annotation) if get_origin(parameter.annotation) else [parameter.annotation]
                )
                kinds = {kind, *get_args(kind)} & {int, float}
                info = next((extra for extra in extras if hasattr(extra, "param_decls")), None)
                if kinds:
                    option = f"--{parameter.name.replace('_', '-')}"
                    yield pytest.param(app, words, option, kinds.pop(), info, id=" ".join([name, *words, option]))


@pytest.mark.parametrize(("app", "words", "option", "kind", "info"), numbers())
def test_a_number_out_of_range_is_refused(
    app: typer.Typer, words: list[str], option: str, kind: type, info: Any
) -> None:
    assert info is not None, f"{option} takes any number: annotate it with _common.number"
    assert info.min is not None, f"{option} takes any number: annotate it with _common.number"
    wrong = [info.min - 1, *([info.max + 1] if info.max is not None else [])]
    wrong += ["nan", "inf", "-inf", "many"] if kind is float else ["1.5", "1e3", "many"]
    for value in wrong:
        result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [*words, f"{option}={value}"])
        assert result.exit_code == 2, (value, result.output)
        assert option in result.output, (value, result.output)


def test_there_are_numbers_to_try() -> None:
    assert len(list(numbers())) > 25
