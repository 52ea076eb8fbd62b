"""Tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from verl_vsi.evaluation.tables import Cell, Row, columns_of
from verl_vsi.evaluation.taskset import SHORT


def markdown(rows: Sequence[Row], title: str) -> str:
    """A GitHub table with its notes below."""
    columns = columns_of(rows)
    lines = [f"### {title}", "", _line(["", "average", *[SHORT[c] for c in columns]])]
    lines.append(_line(["---", *["---:"] * (len(columns) + 1)]))
    lines += [_line([row.name, row.overall.text(), *[_task(row, c).text(False) for c in columns]]) for row in rows]
    return "\n".join([*lines, "", *[f"- {note}" for note in notes(rows)], ""])


def latex(rows: Sequence[Row], title: str) -> str:
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


def comma_separated(rows: Sequence[Row]) -> str:
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


def notes(rows: Sequence[Row]) -> list[str]:
    """``row: note``, each once, in order."""
    return list(dict.fromkeys(f"{row.name.strip()}: {note}" for row in rows for note in row.notes))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _task(row: Row, column: str) -> Cell:
    return row.tasks.get(column, Cell(None))


def _interval(cell: Cell) -> str:
    text = cell.text()
    return text.replace("[", r"{\scriptsize[").replace("]", "]}")


def _escape(text: str) -> str:
    return "".join("\\" + char if char in "&%$#_{}" else char for char in text)
