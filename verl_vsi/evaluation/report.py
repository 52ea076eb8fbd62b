"""Results and runs -> tables and pictures in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation import export
from verl_vsi.evaluation.beside import table_beside
from verl_vsi.evaluation.curves import Run, held_out_tasks
from verl_vsi.evaluation.figures import draw_curves, draw_tasks
from verl_vsi.evaluation.published import published
from verl_vsi.evaluation.result import Result
from verl_vsi.evaluation.tables import Cell, Row, rates_line, result_row, scores_row

PICTURES = ("png", "pdf")


def tables(results: Sequence[Result], runs: Sequence[Run], papers: Sequence[str]) -> dict[str, list[Row]]:
    """Every table by its title.

    Args:
        results: evaluated.
        runs: trained; their last validations make a table.
        papers: of `published`: ``table1``, ``table2``, ``vsibench``...

    Raises:
        ValueError: no such published table.
    """
    known = published()
    if unknown := [name for name in papers if name not in known]:
        raise ValueError(f"table '{unknown[0]}' is not shipped; there are {', '.join(known)}")
    made: dict[str, list[Row]] = {}
    if results:
        made[f"Results, {_averages(results)}, %"] = result_rows(results)
    if held := [row for run in runs if (row := last_validation(run))]:
        made["Last validation in training, average of the tasks present, %"] = held
    for name in papers:
        made[f"{known[name].title} ({known[name].source})"] = table_beside(known[name], results)
    return made


def result_rows(results: Sequence[Result]) -> list[Row]:
    """Results, then the baselines of each different set of questions."""
    rows = [Row(r.name, r.overall, r.tasks, (rates_line(result),)) for result in results for r in [result_row(result)]]
    seen: set[str] = set()
    for result in results:
        data = str(result.labels["data"].get("sha256")) + str(result.labels["data"].get("questions"))
        if data not in seen:
            seen.add(data)
            rows += [
                scores_row(f"{name.replace('_', ' ')} ({result.labels['set']})", s)
                for name, s in result.baselines.items()
            ]
    return rows


def last_validation(run: Run) -> Row | None:
    """The macro average and tasks of a run's last validation; None where it never validated."""
    steps = [step for step, data in sorted(run.log.items()) if held_out_tasks(data)]
    if not steps:
        return None
    tasks = held_out_tasks(run.log[steps[-1]])
    average = 100 * sum(tasks.values()) / len(tasks)
    return Row(f"{run.name}, step {steps[-1]}", Cell(average), {c: Cell(100 * v) for c, v in tasks.items()})


def write_report(out: Path, made: dict[str, list[Row]], results: Sequence[Result], runs: Sequence[Run]) -> list[Path]:
    """Write report.md, tables as CSV and LaTeX, and pictures; returns the files."""
    files, cautions = (
        [],
        [f"- {c}" for table in published().values() if _shown(table.title, made) for c in table.cautions],
    )
    text = [export.markdown(rows, title) for title, rows in made.items()]
    pictures = _pictures(out, results, runs)
    text += [f"![{p.stem}]({p.name})\n" for p in pictures if p.suffix == ".png"]
    text += ["Cautions about the published numbers\n", *cautions] if cautions else []
    for number, (title, rows) in enumerate(made.items(), 1):
        for suffix, content in (("csv", export.comma_separated(rows)), ("tex", export.latex(rows, title))):
            files.append(out / f"table_{number}.{suffix}")
            write_text(files[-1], content)
    write_text(out / "report.md", "\n".join(text) + "\n")
    return [out / "report.md", *files, *pictures]


def _pictures(out: Path, results: Sequence[Result], runs: Sequence[Run]) -> list[Path]:
    paths = []
    for kind in PICTURES:
        if results:
            rows = [result_row(r) for r in results]
            floor = results[0].baselines.get("best_constant")
            draw_tasks([*rows, *([scores_row("best constant", floor)] if floor else [])][:7], out / f"tasks.{kind}")
            paths.append(out / f"tasks.{kind}")
        if runs:
            draw_curves(runs, out / f"curves.{kind}")
            paths.append(out / f"curves.{kind}")
    return paths


def _averages(results: Sequence[Result]) -> str:
    return " and ".join(dict.fromkeys(str(r.labels["averaging"]) for r in results))


def _shown(title: str, made: dict[str, list[Row]]) -> bool:
    return any(heading.startswith(title) for heading in made)
