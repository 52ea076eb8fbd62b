"""The table and the picture of `passes.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LOOK = {  # colour-blind safe (Okabe and Ito), and told apart by line and marker in print
    "stock": ("#000000", "-", "o", "verl"),
    "shared": ("#0072B2", "--", "s", "shared passes"),
    "frozen": ("#D55E00", ":", "^", "shared, tower frozen"),
}


def row_of(record: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The row with these values."""
    return next(row for row in record["rows"] if all(row[key] == value for key, value in values.items()))


def show(record: dict[str, Any]) -> None:
    """Ratios of verl's own cost to ours; what operations and tokens allow beside them; ours to the floor."""
    from rich.console import Console
    from rich.table import Table

    about = record["about"]
    table = Table(
        title=f"times cheaper than verl: {about['device']}, {about['model']} {about['shape']} {about['dtype']}"
    )
    for column in ("pass", "answer", "n", "verl s", "shared", "FLOPs", "tower frozen", "memory", "tokens", "of floor"):
        table.add_column(column, justify="right")
    for stock in (row for row in record["rows"] if row["kind"] == "stock"):
        case = {key: stock[key] for key in ("pass", "n", "answer")}
        shared, frozen = (row_of(record, kind=kind, **case) for kind in ("shared", "frozen"))
        table.add_row(
            stock["pass"],
            str(stock["answer"]),
            str(stock["n"]),
            f"{stock['seconds']:.2f}",
            f"{stock['seconds'] / shared['seconds']:.1f}x",
            f"{stock['floor'] / shared['floor']:.1f}x",
            f"{stock['seconds'] / frozen['seconds']:.1f}x",
            f"{stock['peak_bytes'] / max(shared['peak_bytes'], 1):.1f}x",
            f"{stock['tokens'] / shared['tokens']:.1f}x",
            f"{shared['floor'] / about['matrix_flops_per_second'] / shared['seconds']:.0%}",
        )
    console = Console()
    console.print(table)
    console.print("FLOPs: by how much sharing cuts them; tokens: those that the language model computes")
    for line in growth(record):
        console.print(line)


def growth(record: dict[str, Any]) -> list[str]:
    """What an update costs at the most rollouts, in units of what it costs at the fewest."""
    numbers = sorted({row["n"] for row in record["rows"]})
    lines: list[str] = []
    if len(numbers) == 1:
        return lines
    for length in sorted({row["answer"] for row in record["rows"]}):
        if {row["n"] for row in record["rows"] if row["answer"] == length} != set(numbers):
            continue  # not all of them were asked for
        grown = []
        for kind, (*_, label) in LOOK.items():
            first, last = (
                row_of(record, kind=kind, n=n, answer=length, **{"pass": "update"})["seconds"]
                for n in (numbers[0], numbers[-1])
            )
            grown.append(f"{label} {last / first:.2f}x")
        lines.append(f"update, answers of {length}, n from {numbers[0]} to {numbers[-1]}: {', '.join(grown)}")
    return lines


def draw(record: dict[str, Any], path: Path) -> None:
    """Cost of an update against the number of rollouts, a panel for each answer length."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lengths = sorted({row["answer"] for row in record["rows"]})
    figure, panels = pyplot.subplots(1, len(lengths), figsize=(3.6 * len(lengths), 3.4), sharey=True, squeeze=False)
    for panel, length in zip(panels[0], lengths, strict=True):
        _panel(panel, [row for row in record["rows"] if row["answer"] == length and row["pass"] == "update"])
        panel.set_title(f"answers of {length} tokens")
        panel.set_xlabel("rollouts of a question")
    unit = "CPU seconds" if record["about"]["dtype"] == "float32" else "seconds"
    panels[0][0].set_ylabel(f"forward and backward, {unit}")
    panels[0][-1].legend(frameon=False, loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def _panel(panel: Any, rows: list[dict[str, Any]]) -> None:
    for kind, (colour, line, marker, label) in LOOK.items():
        points = sorted((row["n"], row["seconds"]) for row in rows if row["kind"] == kind)
        panel.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker=marker, label=label)
    numbers = sorted({row["n"] for row in rows})
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(numbers, [str(number) for number in numbers])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
