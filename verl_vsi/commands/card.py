"""`verl-vsi card`: a model card and data cards of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from verl_vsi.commands._common import command, say

app = typer.Typer(help="A model card and data cards of a run.", add_completion=False)


@app.command(epilog="Example: verl-vsi card outputs/vsgrpo_2b-think --results outputs/eval/think --out outputs/card")
@command()
def card(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.")],
    out: Annotated[Path, typer.Option(help="Folder of the cards.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="Results of its checkpoint, or folders of results; repeatable.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Of the weights, as the hub names it, e.g. apache-2.0.")] = None,
    data_license: Annotated[str | None, typer.Option(help="Of the rows, e.g. cc-by-nc-4.0.")] = None,
) -> None:
    """Write README.md for the weights and one for each file of training rows. Nothing is uploaded."""
    from verl_vsi.config.provenance import latest
    from verl_vsi.data_adapters.files import write_text
    from verl_vsi.evaluation.report.cards import data_card, model_card
    from verl_vsi.evaluation.report.contents import gather

    record = latest(run)
    if record is None:
        raise ValueError(f"{run}: no record of a start (provenance/*.json); name the folder of a run of verl-vsi")
    evaluated = [result for path in results or [] for result in gather(path)[0]]
    write_text(out / "README.md", model_card(record, evaluated, license))
    say(f"written: {out / 'README.md'}")
    for file, fingerprint in _training_rows(record):
        target = out / "data" / file.stem / "README.md"
        write_text(target, data_card(file, fingerprint, data_license))
        say(f"written: {target}")
    if license is None:
        say("no licence: --license names one, which must agree with the base model's and the data's", "yellow")
    say("nothing was uploaded; to publish: hf upload ORG/NAME FOLDER", "dim")


def _training_rows(record: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Files of training rows that are still there; says of the others that they are not."""
    files = [(Path(e["file"]), e.get("fingerprint") or {}) for e in (record.get("data") or {}).get("train_files", [])]
    for file, _ in files:
        if not file.is_file():
            say(f"{file} is not here: no data card, and no leak check of it", "yellow")
    return [(file, fingerprint) for file, fingerprint in files if file.is_file()]
