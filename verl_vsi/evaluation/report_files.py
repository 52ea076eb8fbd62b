"""A report on disk: Markdown, a CSV and a LaTeX file a table, numbers over runs as JSON, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation import export
from verl_vsi.evaluation.figures import draw_curves, draw_tasks
from verl_vsi.evaluation.repeats import MEASURES, by_name, spreads
from verl_vsi.evaluation.report import Contents, baseline_rows, cautions, tables, thing_rows
from verl_vsi.evaluation.tables import Row

PICTURES = ("png", "pdf")
MOST_BARS = 7
"""That a picture can tell apart."""


def write_report(out: Path, contents: Contents) -> list[Path]:
    """Write it all into `out`; returns the files, report.md first."""
    made = tables(contents)
    files: list[Path] = []
    for number, (title, rows) in enumerate(made.items(), 1):
        for suffix, text in (("csv", export.comma_separated(rows)), ("tex", export.latex(rows, title))):
            files.append(out / f"table_{number}.{suffix}")
            write_text(files[-1], text)
    if contents.repeated or contents.differences:
        files.append(out / "runs.json")
        write_text(files[-1], json.dumps(over_runs(contents), indent=1, ensure_ascii=False))
    pictures = _pictures(out, contents)
    write_text(out / "report.md", _markdown(made, contents, pictures))
    return [out / "report.md", *files, *pictures]


def over_runs(contents: Contents) -> dict[str, Any]:
    """Means and differences over runs with all their parts, 0 to 1; see `repeats.Spread`."""
    groups = by_name(contents.results)
    return {
        "means": {
            name: {m: spreads([r.scores[m] for r in group]).to_json() for m in MEASURES}
            for name, group in groups.items()
        },
        "differences": {
            d.name: {m: spread.to_json() for m, spread in d.measures.items()} for d in contents.differences
        },
    }


def _markdown(made: Mapping[str, Sequence[Row]], contents: Contents, pictures: Sequence[Path]) -> str:
    text = [export.markdown(rows, title) for title, rows in made.items()]
    text += [f"![{p.stem}]({p.name})\n" for p in pictures if p.suffix == ".png"]
    said = [f"- {caution}" for caution in cautions(contents)]
    text += ["Cautions about the published numbers\n", *said] if said else []
    return "\n".join(text) + "\n"


def _pictures(out: Path, contents: Contents) -> list[Path]:
    paths: list[Path] = []
    for kind in PICTURES:
        if contents.results:
            paths.append(out / f"tasks.{kind}")
            draw_tasks(_bars(contents), paths[-1])
        if contents.differences:
            paths.append(out / f"differences.{kind}")
            draw_tasks([d.row("score") for d in contents.differences][:MOST_BARS], paths[-1], "difference, points")
        if contents.runs:
            paths.append(out / f"curves.{kind}")
            draw_curves(contents.runs, paths[-1])
    return paths


def _bars(contents: Contents) -> list[Row]:
    """The things, and the best that an answer without looking gets."""
    things = thing_rows(contents.results)
    floors = [row for row in baseline_rows(contents.results) if row.name.startswith("best constant")][:1]
    return [*things[: MOST_BARS - len(floors)], *floors]
