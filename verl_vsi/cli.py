"""The `verl-vsi` command. A group's module is imported only when it is used, so `--help` stays fast."""

from __future__ import annotations

import signal
import threading
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem
from typer.main import get_command

from verl_vsi import run_mark

COMMANDS = {
    "doctor": "what is installed, what is registered, and what to do where something is not",
    "data": "build, import, check and audit rows of questions",
    "frames": "decode videos once, ahead of training",
    "rewards": "explain a score, term by term",
    "recipes": "list, show, compare, estimate, write and share recipes",
    "eval": "score a model on VSI-Bench or on rows of your own",
    "export": "a run's checkpoint as a Hugging Face folder",
    "report": "tables and pictures from results and runs",
    "compare": "what differs between two results",
    "card": "a model card and data cards of a run",
    "miniature": "the paper's experiment on this machine, in minutes",
    "experiment": "modes, reward hacking, KL on and off: tried on the miniature",
}
"""Command -> its one line. Each lives in `verl_vsi.commands.<command>` (``eval`` in ``evaluate``) as `app`."""

_MODULES = {"eval": "evaluate"}
_HELP = {"help_option_names": ["-h", "--help"]}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them one at a time."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, but Ctrl-C while a command is still being imported exits with 130, as it does later."""
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
            return super().main(*args, **kwargs)
        signal.signal(signal.SIGINT, _exit_130)
        try:
            return super().main(*args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, before)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for a name that is not ours."""
        return _delegate_to(cmd_name, load(cmd_name)) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from `COMMANDS`, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _exit_130(*_: object) -> None:
    raise SystemExit(130)


def load(name: str) -> Any:
    """A command of `COMMANDS` as typer has it (a command, or a group of them), imported now."""
    command = get_command(import_module(f"verl_vsi.commands.{_MODULES.get(name, name)}").app)
    command.context_settings = {**command.context_settings, **_HELP}
    return command


def _delegate_to(name: str, command: Any) -> click.Command:
    """A command of click's that leaves its arguments to typer's, which shows its own usage errors.

    typer brings its own click, so a group of the one can't hold commands of the other.

    Args:
        name: as the user types it.
        command: typer's.
    """
    return _Delegating(
        name,
        callback=lambda args: command.main(args=list(args), prog_name=f"verl-vsi {name}"),
        params=[click.Argument(["args"], nargs=-1, type=click.UNPROCESSED, shell_complete=_complete)],
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
    )


class _Delegating(click.Command):
    """A command whose words typer reads, and the shell completes."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What click asks for where the word begins with a dash."""
        return _complete(ctx, None, incomplete)


def _complete(ctx: click.Context, _: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """What a word may become: an option, a command of the group, or else a file."""
    command = load(str(ctx.info_name))
    for word in ctx.params["args"]:
        command = getattr(command, "commands", {}).get(word, command)
    words = [*getattr(command, "commands", {})]
    if incomplete.startswith("-"):
        words = ["--help", *(option for parameter in command.params for option in parameter.opts if option[0] == "-")]
    fitting = [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]
    return fitting if words else [CompletionItem(incomplete, type="file")]


@click.group(cls=LazyGroup, context_settings=_HELP)
@click.version_option(package_name="verl-vsi")
def main() -> None:
    """vsGRPO, VSI-100k and VSI-Bench beside verl. Train with: python -m verl.trainer.main_ppo +recipe=..."""
    run_mark.mark("verl-vsi")  # this command and what it starts are ours, whatever they import


if __name__ == "__main__":
    main()
