"""`verl-vsi report`: tables and pictures from results and runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from verl_vsi.commands._common import command, console, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verl_vsi.evaluation.report.contents import Contents
    from verl_vsi.evaluation.report.tables import TableRow
    from verl_vsi.evaluation.score.predictions import Prediction
    from verl_vsi.evaluation.score.result import Result

app = typer.Typer(help="Tables and pictures from results and runs.", add_completion=False)


@app.command(epilog="Example: verl-vsi report outputs/miniature_s* --against base --against sft --out outputs/seeds")
@command()
def report(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results of verl-vsi eval, or folders: all results and training runs under them."),
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="A training run: its folder, or name=folder; repeatable.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Show the others' differences from the results of this name; repeatable.")
    ] = None,
    paper: Annotated[
        list[str] | None, typer.Option(help="table1, table2, vsibench, vsibench_tiny, vsibench_blind.")
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            help="Answers that lmms-eval, VLMEvalKit or EASI wrote, or a jsonl of ids and answers; repeatable."
        ),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="VSI-Bench's test.jsonl or parquet, for answers without their questions.")
    ] = None,
    removed_ids: Annotated[Path | None, typer.Option(help="VSI-Bench's pruned_ids.txt: also scores debiased.")] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(help="Also write the answers as files of lmms-eval, vlmevalkit or easi under --out; repeatable."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Folder `reproduce` of a clone of test-set-training: its published values, computed anew."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, CSV, LaTeX, JSON and pictures.")] = None,
) -> None:
    """Show results beside the papers' rows and each other, and draw tasks and training curves.

    Several results, or training runs, of one name are runs (seeds) of one entry: their means come with standard errors.
    Answers of other tools (`--predictions`) are scored by every rule, macro and micro; X and X_blind give a gap.
    """
    from verl_vsi.evaluation.report.contents import cautions, tables
    from verl_vsi.evaluation.report.report_files import write_report
    from verl_vsi.evaluation.report.table_formats import terminal_table
    from verl_vsi.evaluation.report.tables import row_notes

    if check:
        _check(check)
    if not (results or run or paper or predictions):
        if check:
            return
        raise typer.BadParameter("name results or folders, --run folders, --paper tables, --predictions or --check")
    if export and out is None:
        raise typer.BadParameter("--export needs --out, the folder of its files")
    known = _questions(questions) if questions else {}
    answered = _predictions(predictions or [], known)
    rescored = _rescored(answered, removed_ids)
    contents = replace(_contents(results or [], run or [], against or [], paper or []), rescored=rescored)
    for title, rows in tables(contents).items():
        console.print(terminal_table(rows, title))
        for note in row_notes(rows):
            say(note, "dim")
    for caution in cautions(contents):
        say(caution, "dim")
    for path in write_report(out, contents) if out else ():
        say(f"written: {path}", "dim")
    if export and out:
        _export(export, contents.results, answered, known, out)


def _check(folder: Path) -> None:
    """Show how many published values are met; exit 1 where one is not."""
    from verl_vsi.evaluation.report.release_check import TOLERANCE, check_release

    values = check_release(folder)
    wrong = [value for value in values if not value.is_equal]
    for value in wrong:
        computed = "no value" if value.computed is None else f"{value.computed:.4f}"
        say(f"{value.name}: published {value.published:.4f}, here {computed}", "red")
    say(f"{len(values) - len(wrong)} of {len(values)} published values are met to {TOLERANCE}")
    if wrong:
        raise SystemExit(1)


def _contents(results: list[Path], run: list[str], against: list[str], paper: list[str]) -> Contents:
    from verl_vsi.evaluation.report.contents import Contents, gather
    from verl_vsi.evaluation.report.training_logs import read_run
    from verl_vsi.evaluation.score.seeds import differences

    gathered = [gather(path) for path in results]
    evaluated = [result for group, _ in gathered for result in group]
    trained = [one for _, group in gathered for one in group] + [read_run(*_path_and_name(word)) for word in run]
    return Contents(evaluated, trained, paper, differences(evaluated, against))


def _predictions(files: list[Path], known: dict[str, dict[str, Any]]) -> dict[str, list[Prediction]]:
    from verl_vsi.evaluation.report.rescored import name_of
    from verl_vsi.evaluation.score.predictions import read_predictions

    return {name_of(file): read_predictions(file, known) for file in files}


def _rescored(answered: dict[str, list[Prediction]], removed_ids: Path | None) -> dict[str, list[TableRow]]:
    from verl_vsi.data_adapters.vsibench_download import read_ids
    from verl_vsi.evaluation.report.rescored import rescored_tables

    removed = frozenset(map(str, read_ids(removed_ids))) if removed_ids else None
    return rescored_tables(answered, removed)


def _export(
    forms: list[str],
    results: Sequence[Result],
    answered: dict[str, list[Prediction]],
    known: dict[str, dict[str, Any]],
    out: Path,
) -> None:
    from verl_vsi.evaluation.report.exports import EASI_SUBMITS, Answers, answers_of, export

    both = [answers_of(result, known.values()) for result in results]
    both += [Answers(name, predictions) for name, predictions in answered.items()]
    if not both:
        raise ValueError("--export: there are no answers; name results of verl-vsi eval, or --predictions")
    for form in forms:
        for answers in both:
            folder = out / form / answers.file_name if form == "easi" else out / form
            for path in export(form, answers, folder):
                say(f"written: {path}", "dim")
        if form == "easi":
            say(f"before you submit, fill in {', '.join(EASI_SUBMITS)} of easi_results.json", "dim")


def _questions(path: Path) -> dict[str, dict[str, Any]]:
    """Id -> the benchmark's record."""
    from verl_vsi.data_adapters.schema import Rejected
    from verl_vsi.data_adapters.vsibench_download import read_benchmark

    records = [record for _, record in read_benchmark(path)]
    return {str(record["id"]): record for record in records if not isinstance(record, Rejected)}


def _path_and_name(word: str) -> tuple[str, str]:
    """``name=folder`` in two; a folder whose own name holds ``=`` stays whole."""
    name, sign, path = word.partition("=")
    return (path, name) if sign and not Path(word).exists() else (word, "")
