"""`verl-vsi experiment`: what the paper tells of without a table, on the miniature, through the real verl."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from verl_vsi.commands._common import command, console, number

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: verl-vsi experiment kl")
@command(RuntimeError)
def experiment(
    name: Annotated[
        str,
        typer.Argument(
            help="modes (T, O and V train), hacking (loose format, length), kl, or engines (FSDP2, Megatron)."
        ),
    ],
    folder: Annotated[Path, typer.Option(help="Everything lands here; run again to go on.")] = Path(
        "outputs/experiments"
    ),
    steps: Annotated[int | None, number(1, "Steps of each run; default: the experiment's.")] = None,
    model: Annotated[Path | None, typer.Option(help="What every run starts from; default: the shipped base.")] = None,
    seeds: Annotated[int | None, number(1, "Runs of each kind; default: the experiment's.", high=1000)] = None,
) -> None:
    """Train the miniature in every way that an experiment compares; end in NAME.json and NAME.png."""
    from verl_vsi.config.versions import require
    from verl_vsi.miniature.experiments.run_experiment import run_experiment
    from verl_vsi.miniature.experiments.variants import EXPERIMENTS

    plan = EXPERIMENTS.get(name)
    if plan is None:
        raise ValueError(f"experiment '{name}' is unknown; one of {', '.join(EXPERIMENTS)}")
    if model is not None and not (model / "model.safetensors").is_file():
        raise ValueError(f"--model {model} holds no model.safetensors")
    require("verl", "vllm", "torch", "transformers")
    model = model.resolve() if model else None
    plan = replace(plan, steps=steps or plan.steps, seeds=seeds or plan.seeds, model=model)
    run_experiment(plan, folder.resolve(), console)
