"""Tables for the terminal, and as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verl_vsi.data_adapters.untrusted_text import visible
from verl_vsi.evaluation.report.tables import Cell, TableRow, averages_of, columns_of, result_row, row_notes, scores_row
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.task_columns import SHORT

LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
"""Characters that LaTeX reads as commands -> as it prints them."""


def terminal_table(rows: Sequence[TableRow], title: str) -> Table:
    """For the terminal: averages with their intervals, and the tasks.

    Args:
        rows: of the table.
        title: above it.
    """
    columns, averages = columns_of(rows), averages_of(rows)
    table = Table(title=escape(visible(title)), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", min_width=16, overflow="fold")
    for head in (*averages, *[SHORT[c].replace(".", ".\n", 1) for c in columns]):
        table.add_column(head, justify="right", no_wrap=True)
    for row, *means in zip(rows, *averages.values(), strict=True):
        tasks = [row.task(c).text(False).replace(" ±", "\n±") for c in columns]
        averaged = [m.text().replace(" [", "\n[").replace(" ±", "\n±") for m in means]
        table.add_row(*map(Text, (visible(row.name), *averaged, *tasks)))
    return table


def results_table(results: Sequence[Result]) -> Table:
    """Results for the terminal, with what the questions of the last give without a model."""
    rows = [result_row(result) for result in results]
    rows += [scores_row(name.replace("_", " "), scores) for name, scores in results[-1].baselines.items()]
    return terminal_table(rows, ", ".join(sorted({result.labels.averaging for result in results})))


def markdown(rows: Sequence[TableRow], title: str) -> str:
    """A GitHub table with its notes below.

    Args:
        rows: of the table.
        title: above it.
    """
    columns, averages = columns_of(rows), averages_of(rows)
    lines = [f"### {plain(title)}", "", _line(["", *averages, *[SHORT[c] for c in columns]])]
    lines.append(_line(["---", *["---:"] * (len(columns) + len(averages))]))
    lines += [
        _line([plain(row.name), *[mean.text() for mean in means], *[row.task(c).text(False) for c in columns]])
        for row, *means in zip(rows, *averages.values(), strict=True)
    ]
    return "\n".join([*lines, "", *[f"- {plain(note)}" for note in row_notes(rows)], ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plain(text: str) -> str:
    """Text that Markdown takes for nothing but text, on one line."""
    return "".join("\\" + char if char in "\\`|<>[]" else char for char in visible(text))


def latex(rows: Sequence[TableRow], title: str) -> str:
    """A booktabs table; needs ``\\usepackage{booktabs}``.

    Args:
        rows: of the table.
        title: its caption.
    """
    columns, averages = columns_of(rows), averages_of(rows)
    head = " & ".join(["", *averages, *[SHORT[c] for c in columns]]) + r" \\"
    body = [
        " & ".join([_escape(row.name), *map(_interval, means), *[row.task(c).text(False) for c in columns]]) + r" \\"
        for row, *means in zip(rows, *averages.values(), strict=True)
    ]
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escape(title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) + len(averages))}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*[f"% {visible(note)}" for note in row_notes(rows)], *lines, ""])


def _interval(cell: Cell) -> str:
    return cell.text().replace("[", r"{\scriptsize[").replace("]", "]}")


def _escape(text: str) -> str:
    return "".join(LATEX.get(char, char) for char in visible(text))


def comma_separated(rows: Sequence[TableRow]) -> str:
    """One line a row, full precision, intervals in columns of their own, notes in the last."""
    columns, averages = columns_of(rows), averages_of(rows)
    parts = ("mean", "low", "high")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["name", *[f"{c}/{p}" for c in (*averages, *columns) for p in parts], "notes"])
    for row, *means in zip(rows, *averages.values(), strict=True):
        cells = [*means, *[row.task(c) for c in columns]]
        numbers = [value for cell in cells for value in (cell.mean, cell.low, cell.high)]
        words = [_no_formula(visible(text)) for text in (row.name, "; ".join(row.notes))]
        writer.writerow([words[0], *["" if v is None else f"{v:.6g}" for v in numbers], words[1]])
    return file.getvalue()


def _no_formula(text: str) -> str:
    """Text that a spreadsheet does not compute."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
