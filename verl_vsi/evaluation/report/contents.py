"""What a report holds, and its tables; `report_files` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.evaluation.ask.items import CONDITIONS
from verl_vsi.evaluation.ask.run import journal_path
from verl_vsi.evaluation.report.published_comparison import published, table_beside
from verl_vsi.evaluation.report.tables import Cell, TableRow, rates_line, result_row, scores_row
from verl_vsi.evaluation.report.training_logs import METRICS, Run, held_out_tasks, read_run
from verl_vsi.evaluation.score.result import Result, read_result
from verl_vsi.evaluation.score.scores import Scores
from verl_vsi.evaluation.score.seeds import MEANING, MEASURES, Difference, by_name, spreads


@dataclass(frozen=True)
class Contents:
    """What is reported.

    Args:
        results: evaluated; several of one name are runs (seeds) of one thing.
        runs: trained; likewise.
        papers: of `published`: ``table1``, ``table2``, ``vsibench``...
        differences: of `repeats.differences`.
    """

    results: Sequence[Result] = ()
    runs: Sequence[Run] = ()
    papers: Sequence[str] = ()
    differences: Sequence[Difference] = ()

    @property
    def repeated(self) -> bool:
        """Whether a thing was evaluated several times."""
        return any(len(group) > 1 for group in by_name(self.results).values())


def gather(path: str | Path) -> tuple[list[Result], list[Run]]:
    """The result of a file; or, of a folder, every result and training run under it.

    Raises:
        ValueError, OSError: it is no result, or there are none under the folder.
    """
    path = Path(path)
    if not path.is_dir():
        return [read_result(path)], []
    files = [f for f in sorted(path.rglob("*.json")) if journal_path(f).exists()]
    results = [read_result(f) for f in files]
    order = {condition: place for place, condition in enumerate(CONDITIONS)}
    results.sort(key=lambda r: (r.name, order[r.labels["condition"]]))
    runs = [read_run(f.parent) for f in sorted(path.rglob(METRICS)) if list(f.glob("*.jsonl"))]
    if not results and not runs:
        raise ValueError(f"{path}: holds neither results of verl-vsi eval nor training runs (metrics/*.jsonl)")
    return results, runs


def tables(contents: Contents) -> dict[str, list[TableRow]]:
    """Every table by its title.

    Raises:
        ValueError: no such published table.
    """
    known, results = published(), contents.results
    if unknown := [name for name in contents.papers if name not in known]:
        raise ValueError(f"table '{unknown[0]}' is not shipped; there are {', '.join(known)}")
    made: dict[str, list[TableRow]] = {}
    if contents.repeated:
        made[f"Means over runs, {_averages(results)}, %, {MEANING}"] = thing_rows(results) + baseline_rows(results)
    for measure, unit in MEASURES.items() if contents.differences else ():
        made[f"Differences, {unit}, {MEANING}"] = [d.row(measure) for d in contents.differences]
    if results:
        made[f"Results, {_averages(results)}, %"] = result_rows(results)
    if held := validation_rows(contents.runs):
        made["Last validation in training, average of the tasks present, %"] = held
    for name in contents.papers:
        made[f"{known[name].title} ({known[name].source})"] = table_beside(known[name], results)
    return made


def cautions(contents: Contents) -> list[str]:
    """What to know before comparing with the published tables that are shown."""
    return [caution for name in contents.papers for caution in published()[name].cautions]


def result_rows(results: Sequence[Result]) -> list[TableRow]:
    """Results, those of one name numbered, then what their questions give without a model."""
    rows = [
        TableRow(_numbered(name, place, len(group)), row.overall, row.tasks, (rates_line(one),))
        for name, group in by_name(results).items()
        for place, one in enumerate(group, 1)
        for row in [result_row(one)]
    ]
    return rows + baseline_rows(results)


def thing_rows(results: Sequence[Result]) -> list[TableRow]:
    """A line a thing: its one result, or its mean over its runs."""
    groups = by_name(results).items()
    return [_mean_row(n, g) if len(g) > 1 else scores_row(n, g[0].scores["score"]) for n, g in groups]


def _mean_row(name: str, group: Sequence[Result]) -> TableRow:
    score, reward = (spreads([r.scores[measure] for r in group]) for measure in MEASURES)
    by_run = ", ".join(f"{100 * value:.1f}" for value in score.overall.values)
    said = f"average by run {by_run}; paper's accuracy reward {reward.overall.cell().text()} of 100"
    return score.row(f"{name}, {len(group)} runs", notes=(said,))


def baseline_rows(results: Sequence[Result]) -> list[TableRow]:
    """A line a baseline, over the different choices of questions."""
    found = _baselines(results)
    return [
        scores_row(name, scores[0]) if len(scores) == 1 else spreads(scores).row(f"{name}, {len(scores)} sets")
        for name, scores in found.items()
    ]


def validation_rows(runs: Sequence[Run]) -> list[TableRow]:
    """The macro average and tasks of each run's last validation; runs that never validated are left out."""
    names, rows = [run.name for run in runs], []
    for at, run in enumerate(runs):
        validated = [(step, tasks) for step, data in sorted(run.log.items()) if (tasks := held_out_tasks(data))]
        if validated:
            step, tasks = validated[-1]
            name = _numbered(run.name, names[: at + 1].count(run.name), names.count(run.name))
            average = Cell(100 * sum(tasks.values()) / len(tasks))
            rows.append(TableRow(f"{name}, step {step}", average, {c: Cell(100 * v) for c, v in tasks.items()}))
    return rows


def _baselines(results: Sequence[Result]) -> Mapping[str, list[Scores]]:
    different = {(r.labels["data"].get("sha256"), r.labels["data"].get("questions")): r for r in results}
    found: dict[str, list[Scores]] = {}
    for result in different.values():
        for name, scores in result.baselines.items():
            found.setdefault(f"{name.replace('_', ' ')} ({result.labels['set']})", []).append(scores)
    return found


def _numbered(name: str, place: int, count: int) -> str:
    return name if count == 1 else f"{name}, {place} of {count}"


def _averages(results: Sequence[Result]) -> str:
    return " and ".join(dict.fromkeys(str(r.labels["averaging"]) for r in results))
