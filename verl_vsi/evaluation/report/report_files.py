"""A report on disk: Markdown, a CSV and a LaTeX file a table, numbers over runs as JSON, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.report.contents import Contents, baseline_rows, cautions, entry_rows, tables
from verl_vsi.evaluation.report.figures import draw_curves, draw_tasks
from verl_vsi.evaluation.report.table_formats import comma_separated, latex, markdown, plain
from verl_vsi.evaluation.report.tables import TableRow, difference_row
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import MEASURES
from verl_vsi.evaluation.score.seeds import by_entry, spreads

PICTURES = ("png", "pdf")
MOST_BARS = 7
"""That a picture can tell apart."""


def write_report(out: Path, contents: Contents) -> list[Path]:
    """Write it all; returns the files, report.md first.

    Args:
        out: the folder.
        contents: what is reported.
    """
    by_title = tables(contents)
    files: list[Path] = []
    for number, (title, rows) in enumerate(by_title.items(), 1):
        for suffix, text in (("csv", comma_separated(rows)), ("tex", latex(rows, title))):
            files.append(out / f"table_{number}.{suffix}")
            write_text(files[-1], text)
    if contents.has_seeds or contents.differences:
        files.append(out / "runs.json")
        write_text(files[-1], json.dumps(over_runs(contents), indent=1, ensure_ascii=False))
    pictures = _pictures(out, contents)
    write_text(out / "report.md", _markdown(by_title, contents, pictures))
    return [out / "report.md", *files, *pictures]


def over_runs(contents: Contents) -> dict[str, Any]:
    """Means and differences over runs with all their parts, 0 to 1; see `seeds.Spread`."""
    groups = by_entry(contents.results)
    return {
        "means": {
            name: {m: spreads([r.scores[m] for r in group]).to_json() for m in MEASURES}
            for name, group in groups.items()
        },
        "differences": {
            d.name: {m: spread.to_json() for m, spread in d.measures.items()} for d in contents.differences
        },
    }


def _markdown(by_title: Mapping[str, Sequence[TableRow]], contents: Contents, pictures: Sequence[Path]) -> str:
    text = [*_heading(contents), *(markdown(rows, title) for title, rows in by_title.items())]
    text += [f"![{p.stem}]({p.name})\n" for p in pictures if p.suffix == ".png"]
    notes = [f"- {caution}" for caution in cautions(contents)]
    text += ["Cautions about the published numbers\n", *notes] if notes else []
    return "\n".join(text) + "\n"


def _heading(contents: Contents) -> list[str]:
    """Title, entries with model, runs, questions and settings, and where training runs come from."""
    entries = by_entry(contents.results)
    names = list(dict.fromkeys([*entries, *(run.name for run in contents.runs)]))
    lines = [f"# {plain(', '.join(names))}: results by verl-vsi\n"] if names else []
    if entries:
        lines += ["| entry | model | runs | questions | asked and read |", "|---|---|---:|---:|---|"]
        lines += [_entry_line(name, group) for name, group in entries.items()] + [""]
    for run in contents.runs:
        lines.append(f"- training run {plain(run.name)}: {max(run.log)} steps{plain(run.origin)}")
    return [*lines, ""]


def _entry_line(name: str, group: Sequence[Result]) -> str:
    label = group[0].labels
    several = [str(r.labels.data.get("questions", len(r.answers))) for r in group]
    models = ", ".join(dict.fromkeys(r.labels.model for r in group))
    settings = (
        f"{label.preset} preset, mode {label.mode}, {label.prompts}, {label.nframes} frames of "
        f"{label.min_pixels} to {label.max_pixels} pixels, {label.decoding}, {label.extraction} extraction, "
        f"seed {', '.join(dict.fromkeys(str(r.labels.seed) for r in group))} of the evaluation"
    )
    cells = (name, models, str(len(group)), " and ".join(dict.fromkeys(several)), settings)
    return f"| {' | '.join(map(plain, cells))} |"


def _pictures(out: Path, contents: Contents) -> list[Path]:
    entries = list(by_entry(contents.results))
    paths: list[Path] = []
    for kind in PICTURES:
        if contents.results:
            paths.append(out / f"tasks.{kind}")
            draw_tasks(_bars(contents), paths[-1])
        if contents.differences:
            paths.append(out / f"differences.{kind}")
            rows = [difference_row(d, "score") for d in contents.differences]
            colours = [
                entries.index(d.entry) if d.entry in entries else at for at, d in enumerate(contents.differences)
            ]
            draw_tasks(rows[:MOST_BARS], paths[-1], "difference, points", colours)
        if contents.runs:
            paths.append(out / f"curves.{kind}")
            draw_curves(contents.runs, paths[-1], entries)
    return paths


def _bars(contents: Contents) -> list[TableRow]:
    """The entries, and the best that an answer without looking gets."""
    entries = entry_rows(contents.results)
    constants = [row for row in baseline_rows(contents.results) if row.name.startswith("best constant")][:1]
    return [*entries[: MOST_BARS - len(constants)], *constants]
