"""What the commands share: how they end, options in groups, and `--json`.

Exit status: 0 done; 1 a run failed, or a check found something; 2 wrong usage or input; 130 an interrupt
(SIGINT), 143 SIGTERM, after which everything is cleaned up in the same way.
"""

from __future__ import annotations

import inspect
import math
import shlex
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from verl_vsi.commands._console import console, say

WRONG_INPUT = (
    ValueError,
    ImportError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors that the user's words or files cause: status 2."""


class Terminated(SystemExit):
    """SIGTERM has arrived. As Python's own exit it comes through an event loop, which swallows other exceptions."""


@contextmanager
def signals_raise() -> Iterator[None]:
    """Within the block Ctrl-C raises KeyboardInterrupt and SIGTERM, once, `Terminated`: both clean up alike."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)  # a second one would cut the cleaning short
        raise Terminated(143)

    before, interrupt = signal.signal(signal.SIGTERM, end), signal.getsignal(signal.SIGINT)
    if interrupt != signal.SIG_IGN:  # as a job has it that a script starts with "&"
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


@contextmanager
def exit_status(*failures: type[Exception]) -> Iterator[None]:
    """Print an expected error without its traceback, and exit with its status.

    Args:
        failures: errors that mean that the run failed, beside what the operating system refuses.
    """
    with signals_raise():
        try:
            yield
        except (*WRONG_INPUT, OSError, *failures) as error:
            say(_message(error), "red")
            raise SystemExit(2 if isinstance(error, WRONG_INPUT) else 1) from error
        except (KeyboardInterrupt, Terminated) as end:
            say("interrupted; nothing is half-written, and the same command goes on where it was")
            raise SystemExit(143 if isinstance(end, Terminated) else 130) from None


def _message(error: Exception) -> str:
    """An error as a line; what the operating system says comes without its number, the file first."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def command(*failures: type[Exception]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command: its errors become an exit status, its option groups options of their own.

    A parameter whose type is a dataclass is a group. typer is shown the group's fields in its place, each annotated as
    typer wants it; ``--help`` shows them together, under the group's first line.

        @app.command()
        @command()
        def greet(name: str, options: Greeting) -> None: ...

    Args:
        failures: see `exit_status`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

        @wraps(function)
        def run(**values: Any) -> None:
            with console.printing(as_json=values.pop("as_json")), exit_status(*failures):
                for name, group in groups.items():
                    values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
                function(**values)

        parameters = [
            expanded
            for name, parameter in inspect.signature(function).parameters.items()
            for expanded in (
                _options(groups[name]) if name in groups else [_parameter(name, hints[name], parameter.default)]
            )
        ]
        parameters.append(_parameter("as_json", AsJson, default=False))
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _options(group: Any) -> Iterator[inspect.Parameter]:
    """A group's fields as parameters, options under one heading."""
    heading = inspect.cleandoc(group.__doc__).partition("\n")[0].rstrip(".")
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, *extras = get_args(hints[field.name])
        extras = [copy(extra) for extra in extras]
        for option in extras:
            if isinstance(option, OptionInfo):
                option.rich_help_panel = heading
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield _parameter(field.name, Annotated[(kind, *extras)], default)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


LARGEST = 2**31 - 1


def number(low: float, help: str, high: float | None = LARGEST) -> Any:
    """A numeric option: out of range is wrong usage, before anything is started. Every one of the commands is such.

    Args:
        low: the least value.
        help: its line.
        high: the greatest value; None: any that is finite.
    """
    return typer.Option(min=low, max=high, callback=_finite, help=help)


def _finite(value: float | None) -> float | None:
    """Refuse NaN, which no range excludes, and infinity."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def named_values(option: str, words: Sequence[str], names: Collection[str], form: str = "NAME=VALUE") -> dict[str, str]:
    """The values of a repeatable option whose words are of the form NAME=VALUE.

    Args:
        option: its name, for the error.
        words: as the user gave them.
        names: those that there are.
        form: what the option's help calls the two.

    Raises:
        ValueError: a word of another form, or a name that is not among `names`.
    """
    values = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in names or not value:
            raise ValueError(f"{option} {word}: write {form} with {form.partition('=')[0]} one of {', '.join(names)}")
        values[name] = value
    return values


AsJson = Annotated[bool, typer.Option("--json", help="Print tables and lines as one JSON object.")]
Root = Annotated[Path, typer.Option(envvar="VSI_ROOT", help="The data root (vsi.root).")]
OptionalRoot = Annotated[Path | None, typer.Option(envvar="VSI_ROOT", help="The data root (vsi.root).")]


@dataclass(frozen=True)
class FrameOptions:
    """Frames."""

    nframes: Annotated[int | None, number(1, "Frames a video.")] = None
    sampler: Annotated[str | None, typer.Option(help="qwen, or linspace (VSI-Bench's).")] = None
    min_pixels: Annotated[int | None, number(1, "Fewest pixels a frame.")] = None
    max_pixels: Annotated[int | None, number(1, "Most pixels a frame.")] = None
    patch_size: Annotated[
        int | None, number(1, "The model's: 14 for Qwen2-VL and Qwen2.5-VL, 16 for Qwen3-VL and Qwen3.5.", high=64)
    ] = None


def recipe_frames(recipe: str) -> dict[str, Any]:
    """`vsi.frames` of a recipe, composed as the trainer would compose it.

    Args:
        recipe: its name, and overrides behind it.

    Raises:
        ValueError: it does not compose.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from verl_vsi.config.recipes import composer

    try:
        with composer() as compose:
            config = compose.recipe([*shlex.split(recipe), "vsi.frames.store=null"])
    except HydraException as error:
        raise ValueError(f"recipe {recipe} does not compose: {error}; `verl-vsi recipes list` names them") from error
    return dict(OmegaConf.to_container(config.vsi.frames, resolve=True))  # pyright: ignore
