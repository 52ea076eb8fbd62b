"""What one GPU says of shared passes, of `recipes estimate` and of Qwen2-VL on Megatron, in pieces that resume.

    python benchmarks/gpu                                  # all pieces at Qwen2-VL-2B and 7B sizes, bfloat16
    python benchmarks/gpu --piece updates --size 2b        # one of them
    python benchmarks/gpu --device cpu --tiny              # that every piece runs, under a minute, without a GPU

Random weights, nothing is downloaded: it needs torch, a card, verl and this package; megatron-core for the last piece.
Each case is printed and written to benchmarks/results/gpu_<device>.json as soon as it is measured; the same command
goes on behind it. A case that fails is named, the others run, and the command ends with 1.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Protocol

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "tests" / "support")]

import torch
import typer
from benchmark_results import RESULTS, resume, versions, write_result
from gpu import equality, kernels, megatron_model, memory, updates
from gpu.setting import Case, Setting, start
from rich.console import Console
from rich.table import Table

PACKAGES = ("verl-vsi", "verl", "torch", "transformers", "flash-attn", "megatron-core", "transformer-engine")

MEMORY = "out of memory"
"""The only figure of a case that a card has no room for: it is a result, too."""

console = Console(width=None if sys.stdout.isatty() else 200)


class Piece(Protocol):
    """A module that measures something."""

    @property
    def TITLE(self) -> str:  # noqa: N802
        """Of its table."""
        ...

    def cases(self, setting: Setting) -> list[Case]:
        """What is measured, in an order that needs few models."""
        ...

    def measure(self, setting: Setting, case: Case) -> Case:
        """The figures of a case.

        Args:
            setting: device and sizes.
            case: of `cases`.
        """
        ...

    def summary(self, rows: list[Case]) -> list[Case]:
        """What the piece's table says of each case, from cases with their figures."""
        ...


PIECES: dict[str, Piece] = {
    "kernels": kernels,
    "megatron": megatron_model,
    "updates": updates,
    "equality": equality,
    "memory": memory,
}
"""In the order in which they run: Megatron's before verl's engines, which replace transformers' forward."""


def main(
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="a tiny model, to see that the pieces run")] = False,
    piece: Annotated[list[str] | None, typer.Option(help=f"{', '.join(PIECES)}; repeatable; default: all")] = None,
    size: Annotated[list[str] | None, typer.Option(help="2b or 7b; repeatable; default: both")] = None,
    models: Annotated[Path, typer.Option(help="models of random weights are kept here")] = Path("outputs/gpu_models"),
    out: Annotated[Path, typer.Option(help="folder of the results")] = RESULTS,
) -> None:
    """Measure, print, record."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here (torch.cuda.is_available() is False), and nothing was measured")
    if unknown := {*(piece or ())} - {*PIECES}:
        raise SystemExit(f"--piece {', '.join(unknown)} is unknown; choose of {', '.join(PIECES)}")
    setting = Setting(device, ("tiny",) if tiny else tuple(size or ("2b", "7b")), models.absolute())
    about = {"device": start(device), "dtype": setting.dtype, "tiny": tiny, "versions": versions(PACKAGES)}
    path = out / f"gpu_{'tiny_' * tiny}{about['device'].replace(' ', '_').lower()}.json"
    record = resume(path, about) or {"about": about, "rows": []}
    asked = [name for name in PIECES if not piece or name in piece]
    failed = [name for name in asked if not run_piece(name, setting, record, path)]
    console.print(f"written: {path}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; what was measured is kept, and the same command tries again")


def run_piece(name: str, setting: Setting, record: dict[str, Any], path: Path) -> bool:
    """Measure the cases of a piece that are not recorded yet, and print its table.

    Args:
        name: of the piece.
        setting: device and sizes.
        record: gets the rows.
        path: of the record's file.

    Returns:
        Whether all of them could be measured.
    """
    piece, whole = PIECES[name], True
    measured = [row["case"] for row in record["rows"] if row["piece"] == name]
    for case in (case for case in piece.cases(setting) if case not in measured):
        console.print(f"{name}: {label(case)} ...")
        start_time = time.perf_counter()
        try:
            figures = piece.measure(setting, case)
        except torch.OutOfMemoryError:
            figures = {MEMORY: True}
        except Exception as error:  # the other cases are worth their time on a card
            console.print(f"[red]{name}, {case}: {type(error).__name__}: {error}", soft_wrap=True, highlight=False)
            whole = False
            continue
        took = round(time.perf_counter() - start_time, 1)
        record["rows"].append({"piece": name, "case": case, "took": took, "figures": figures})
        write_result(path, record)
    show(piece, [row for row in record["rows"] if row["piece"] == name])
    return whole


def show(piece: Piece, rows: list[Case]) -> None:
    """Print a piece's table.

    Args:
        piece: whose.
        rows: of the record.
    """
    measured = [row for row in rows if MEMORY not in row["figures"]]
    lines = piece.summary([row["case"] | row["figures"] for row in measured])
    table = Table("case", title=piece.TITLE, title_justify="left")
    columns = list(dict.fromkeys(key for line in lines for key in line))
    for column in columns:
        table.add_column(column, justify="right")
    for row, line in zip(measured, lines, strict=True):
        table.add_row(label(row["case"]), *(_text(line.get(column, "")) for column in columns))
    if measured:
        console.print(table)
    for row in rows:
        if row not in measured:
            console.print(f"{MEMORY}: {label(row['case'])}")


def label(case: Case) -> str:
    """A case in words."""
    return ", ".join(f"{key} {value}" for key, value in case.items())


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
