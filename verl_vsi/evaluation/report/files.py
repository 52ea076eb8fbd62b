"""A report on disk: Markdown, a CSV and a LaTeX file a table, numbers over runs as JSON, and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.report.contents import Contents, baseline_rows, cautions, tables, thing_rows
from verl_vsi.evaluation.report.figures import draw_curves, draw_tasks
from verl_vsi.evaluation.report.tables import Cell, TableRow, columns_of
from verl_vsi.evaluation.score.seeds import MEASURES, by_name, spreads
from verl_vsi.evaluation.score.task_columns import SHORT

# MERGED Tables as Markdown, CSV and LaTeX.


def markdown(rows: Sequence[TableRow], title: str) -> str:
    """A GitHub table with its notes below."""
    columns = columns_of(rows)
    lines = [f"### {title}", "", _line(["", "average", *[SHORT[c] for c in columns]])]
    lines.append(_line(["---", *["---:"] * (len(columns) + 1)]))
    lines += [_line([row.name, row.overall.text(), *[_task(row, c).text(False) for c in columns]]) for row in rows]
    return "\n".join([*lines, "", *[f"- {note}" for note in notes(rows)], ""])


def latex(rows: Sequence[TableRow], title: str) -> str:
    """A booktabs table; needs ``\\usepackage{booktabs}``."""
    columns = columns_of(rows)
    head = " & ".join(["", "average", *[SHORT[c] for c in columns]]) + r" \\"
    body = [
        " & ".join([_escape(row.name), _interval(row.overall), *[_task(row, c).text(False) for c in columns]]) + r" \\"
        for row in rows
    ]
    said = [f"% {note}" for note in notes(rows)]
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escape(title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) + 1)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*said, *lines, ""])


def comma_separated(rows: Sequence[TableRow]) -> str:
    """One line a row, full precision, intervals in columns of their own, notes in the last."""
    columns = columns_of(rows)
    parts = ("mean", "low", "high")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", *[f"{c}/{p}" for c in ("average", *columns) for p in parts], "notes"])
    for row in rows:
        cells = [row.overall, *[_task(row, c) for c in columns]]
        numbers = [value for cell in cells for value in (cell.mean, cell.low, cell.high)]
        writer.writerow([row.name, *["" if v is None else f"{v:.6g}" for v in numbers], "; ".join(row.notes)])
    return out.getvalue()


def notes(rows: Sequence[TableRow]) -> list[str]:
    """``row: note``, each once, in order."""
    return list(dict.fromkeys(f"{row.name.strip()}: {note}" for row in rows for note in row.notes))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _task(row: TableRow, column: str) -> Cell:
    return row.tasks.get(column, Cell(None))


def _interval(cell: Cell) -> str:
    text = cell.text()
    return text.replace("[", r"{\scriptsize[").replace("]", "]}")


def _escape(text: str) -> str:
    return "".join("\\" + char if char in "&%$#_{}" else char for char in text)


PICTURES = ("png", "pdf")
MOST_BARS = 7
"""That a picture can tell apart."""


def write_report(out: Path, contents: Contents) -> list[Path]:
    """Write it all into `out`; returns the files, report.md first."""
    made = tables(contents)
    files: list[Path] = []
    for number, (title, rows) in enumerate(made.items(), 1):
        for suffix, text in (("csv", comma_separated(rows)), ("tex", latex(rows, title))):
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


def _markdown(made: Mapping[str, Sequence[TableRow]], contents: Contents, pictures: Sequence[Path]) -> str:
    text = [markdown(rows, title) for title, rows in made.items()]
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


def _bars(contents: Contents) -> list[TableRow]:
    """The things, and the best that an answer without looking gets."""
    things = thing_rows(contents.results)
    floors = [row for row in baseline_rows(contents.results) if row.name.startswith("best constant")][:1]
    return [*things[: MOST_BARS - len(floors)], *floors]
