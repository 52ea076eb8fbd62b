"""`verl-vsi export`: a run's checkpoint as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verl_vsi.commands._common import command, console, say
from verl_vsi.evaluation.ask.export import Precision

app = typer.Typer(help="A run's checkpoint as a Hugging Face folder.", add_completion=False)


@app.command(epilog="Example: verl-vsi export outputs/vsgrpo_2b-vanilla models/vsgrpo_2b")
@command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="The folder of a run, of a global_step_N, or its actor.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    precision: Annotated[Precision, typer.Option(help="Of the weights.")] = "as trained",
) -> None:
    """Merge shards and adapter, and write weights, configuration, tokenizer and processor; nothing is pushed."""
    from verl_vsi.evaluation.ask.export import export_model

    say(f"{export_model(checkpoint, out, precision, console)}: load it with transformers or vLLM, or push it")
