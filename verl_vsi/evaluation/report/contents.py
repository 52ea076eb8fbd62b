"""What a report holds, and its tables; `report_files` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from verl_vsi.evaluation.conditions import CONDITIONS
from verl_vsi.evaluation.report.looking import looking_tables
from verl_vsi.evaluation.report.published_comparison import comparison_rows
from verl_vsi.evaluation.report.tables import (
    INTERVAL_MEANING,
    Cell,
    TableRow,
    difference_row,
    error_meaning,
    result_row,
    scores_row,
    spread_cell,
    spreads_row,
)
from verl_vsi.evaluation.report.training_logs import METRICS, TrainingLog, held_out_tasks, read_run
from verl_vsi.evaluation.score.published import published
from verl_vsi.evaluation.score.result import Result, journal_path, read_result
from verl_vsi.evaluation.score.scores import MEASURES, Scores
from verl_vsi.evaluation.score.seeds import PairedDifference, by_entry, spreads


@dataclass(frozen=True)
class Contents:
    """What is reported.

    Args:
        results: evaluated; several of one entry are its runs (seeds).
        runs: trained; likewise.
        papers: of `published`: ``table1``, ``table2``, ``vsibench``...
        differences: of `seeds.differences`.
        rescored: tables of `rescored.rescored_tables`.
    """

    results: Sequence[Result] = ()
    runs: Sequence[TrainingLog] = ()
    papers: Sequence[str] = ()
    differences: Sequence[PairedDifference] = ()
    rescored: Mapping[str, list[TableRow]] = field(default_factory=dict)

    @property
    def has_seeds(self) -> bool:
        """Whether an entry was evaluated several times."""
        return any(len(group) > 1 for group in by_entry(self.results).values())


def gather(path: str | Path) -> tuple[list[Result], list[TrainingLog]]:
    """The result of a file; or, of a folder, every result and training run under it.

    Raises:
        ValueError, OSError: it is no result, or there are none under the folder.
    """
    path = Path(path)
    if not path.is_dir():
        return [read_result(path)], []
    files = [f for f in sorted(path.rglob("*.json")) if journal_path(f).exists()]
    order = list(CONDITIONS)
    results = sorted(map(read_result, files), key=lambda r: (r.name, order.index(r.labels.condition)))
    runs = [read_run(f.parent) for f in sorted(path.rglob(METRICS)) if list(f.glob("*.jsonl"))]
    if not results and not runs:
        raise ValueError(f"{path}: holds neither results of verl-vsi eval nor training runs (metrics/*.jsonl)")
    return results, runs


def tables(contents: Contents) -> dict[str, list[TableRow]]:
    """Every table by its title.

    Raises:
        ValueError: no such published table.
    """
    papers, results = published(), contents.results
    if unknown := [name for name in contents.papers if name not in papers]:
        raise ValueError(f"table '{unknown[0]}' is not shipped; there are {', '.join(papers)}")
    by_title: dict[str, list[TableRow]] = {}
    if contents.has_seeds:
        counts = [len(group) for group in by_entry(results).values()]
        alone = f"; {INTERVAL_MEANING}" if 1 in counts else ""
        title = f"Means over runs, {_averages(results)}, %, {error_meaning([n for n in counts if n > 1])}{alone}"
        by_title[title] = entry_rows(results) + baseline_rows(results)
    for measure, unit in MEASURES.items() if contents.differences else ():
        title = f"Differences, {unit}, {error_meaning([d.runs for d in contents.differences])}"
        by_title[title] = [difference_row(d, measure) for d in contents.differences]
    if results:
        by_title[f"Results, {_averages(results)}, %, {INTERVAL_MEANING}"] = result_rows(results)
        by_title |= looking_tables(results)
    if validations := validation_rows(contents.runs):
        by_title["Last validation in training, average of the tasks present, %"] = validations
    for name in contents.papers:
        by_title[f"{papers[name].title} ({papers[name].source})"] = comparison_rows(papers[name], results)
    return by_title | dict(contents.rescored)


def cautions(contents: Contents) -> list[str]:
    """What to know before comparing with the published tables that are shown."""
    return [caution for name in contents.papers for caution in published()[name].cautions]


def result_rows(results: Sequence[Result]) -> list[TableRow]:
    """Results, those of one entry numbered, then what their questions give without a model."""
    rows = [
        TableRow(_numbered(name, place, len(group)), row.overall, row.tasks, row.notes)
        for name, group in by_entry(results).items()
        for place, row in enumerate((result_row(result, [result.rates_line()]) for result in group), 1)
    ]
    return rows + baseline_rows(results)


def entry_rows(results: Sequence[Result]) -> list[TableRow]:
    """A line an entry: its one result, or its mean over its runs."""
    groups = by_entry(results).items()
    return [_mean_row(n, g) if len(g) > 1 else scores_row(n, g[0].scores["score"]) for n, g in groups]


def _mean_row(name: str, group: Sequence[Result]) -> TableRow:
    score, reward = (spreads([r.scores[measure] for r in group]) for measure in MEASURES)
    by_run = ", ".join(f"{100 * value:.1f}" for value in score.overall.values)
    note = f"average by run {by_run}; paper's accuracy reward {spread_cell(reward.overall).text()} of 100"
    return spreads_row(f"{name}, {len(group)} runs", score, notes=[note])


def baseline_rows(results: Sequence[Result]) -> list[TableRow]:
    """A line a baseline, over the different choices of questions."""
    return [
        scores_row(name, scores[0]) if len(scores) == 1 else spreads_row(f"{name}, {len(scores)} sets", spreads(scores))
        for name, scores in _baselines(results).items()
    ]


def _baselines(results: Sequence[Result]) -> dict[str, list[Scores]]:
    """``chance (vsibench)`` -> its scores, once a choice of questions."""
    different = {(r.labels.data.get("sha256"), r.labels.data.get("questions")): r for r in results}
    by_name: dict[str, list[Scores]] = {}
    for result in different.values():
        for name, scores in result.baselines.items():
            by_name.setdefault(f"{name.replace('_', ' ')} ({result.labels.set})", []).append(scores)
    return by_name


def validation_rows(runs: Sequence[TrainingLog]) -> list[TableRow]:
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


def _numbered(name: str, place: int, count: int) -> str:
    return name if count == 1 else f"{name}, {place} of {count}"


def _averages(results: Sequence[Result]) -> str:
    return " and ".join(dict.fromkeys(r.labels.averaging for r in results))
