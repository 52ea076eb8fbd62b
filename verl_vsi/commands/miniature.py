"""`verl-vsi miniature`: the paper's experiment on this machine, through the real verl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verl_vsi.commands._common import command, console, number

app = typer.Typer(help="The paper's experiment on this machine, in minutes.", add_completion=False)


@app.callback(invoke_without_command=True, epilog="Example: verl-vsi miniature --folder outputs/miniature")
@command(RuntimeError)
def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="Everything lands here; run again to go on.")] = Path(
        "outputs/miniature"
    ),
    seed: Annotated[int, number(0, "Of questions and training; the rooms stay the same.")] = 0,
    train_rooms: Annotated[int, number(16, "Rooms to train on.")] = 1500,
    heldout_rooms: Annotated[int, number(16, "Rooms to score on.")] = 300,
    sft_steps: Annotated[int | None, number(1, "Steps of SFT; default: the recipe's.")] = None,
    vsgrpo_steps: Annotated[int | None, number(1, "Steps of vsGRPO; default: the recipe's.")] = None,
) -> None:
    """Render rooms, build rows, train SFT and vsGRPO from the base, score all three on held-out rooms."""
    if context.invoked_subcommand is not None:
        return
    from verl_vsi.config.versions import require
    from verl_vsi.miniature.demo import Demo
    from verl_vsi.miniature.run_demo import run_demo

    require("verl", "vllm", "torch", "transformers")
    run_demo(Demo(folder.resolve(), seed, train_rooms, heldout_rooms, sft_steps, vsgrpo_steps), console)


@app.command()
@command()
def base(
    out: Annotated[Path, typer.Argument(help="The folder to write, an ordinary Hugging Face model.")],
    seed: Annotated[int, number(0, "Of the pretraining rooms and of the weights.")] = 0,
) -> None:
    """Make the base that stands in for Qwen2-VL-Instruct (the package ships one made this way).

    Interrupted, the same command goes on after the last stage that was done.
    """
    from verl_vsi.config.versions import require

    require("torch", "transformers")
    from verl_vsi.miniature.pretraining.make_base import make_base

    console.print_json(data=make_base(out.resolve(), seed))
