"""Whether a model looks: its score where there is less to see, and on questions that its frames support or do not.

A model that answers from what it sees falls to chance without a video, and counts 0 where the objects are gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from verl_vsi.data_adapters.schema import COUNTING
from verl_vsi.evaluation.conditions import CONDITIONS
from verl_vsi.evaluation.report.tables import Cell, TableRow, estimate_cell, result_row, scores_row
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import Scores, summarise
from verl_vsi.evaluation.task_columns import PRESENT

GAPS = {"chance": "above chance", "frequency": "above the most frequent answer"}
"""Baseline -> how a line calls the score minus it."""


def looking_tables(results: Sequence[Result]) -> dict[str, list[TableRow]]:
    """Title -> rows; empty where no result was asked under a condition, or says nothing of frames.

    Args:
        results: of one or several models.
    """
    by_title: dict[str, list[TableRow]] = {}
    if rows := condition_rows(results):
        by_title["Does it look? Scores and their gaps to answers without looking, %"] = rows
    if rows := support_rows(results):
        by_title["Questions that the frames support, and others, tasks present, %"] = rows
    return by_title


def condition_rows(results: Sequence[Result]) -> list[TableRow]:
    """Of each model that was asked under several conditions: its score under each, and the gaps to the baselines.

    Args:
        results: of one or several models.
    """
    order, rows = list(CONDITIONS), []
    for name in dict.fromkeys(result.name for result in results):
        group = [result for result in results if result.name == name]
        if len({result.labels.condition for result in group}) > 1:
            for result in sorted(group, key=lambda r: order.index(r.labels.condition)):
                rows += [_condition_row(result), *_gap_rows(result)]
    return rows


def _condition_row(result: Result) -> TableRow:
    condition = result.labels.condition
    notes = [CONDITIONS[condition]] if condition != "normal" else []
    counted = [answer for answer in result.answers if answer.task == COUNTING]
    if counted and condition not in ("normal", "shuffled"):
        share = sum(_is_zero(answer.extracted) for answer in counted) / len(counted)
        notes.append(f"says 0 to {100 * share:.1f} % of {len(counted)} counts")
    return result_row(result, notes)


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _gap_rows(result: Result) -> list[TableRow]:
    """The score minus a baseline, which is taken as a number without error."""
    score, baselines = result.scores["score"], result.baselines
    return [_gap_row(f"{result.title}, {words}", score, baselines[n]) for n, words in GAPS.items() if n in baselines]


def _gap_row(name: str, score: Scores, baseline: Scores) -> TableRow:
    tasks = {task: _minus(estimate_cell(e), baseline.tasks[task].mean) for task, e in score.tasks.items()}
    return TableRow(name, _minus(estimate_cell(score.overall), baseline.overall.mean), tasks)


def _minus(cell: Cell, baseline: float) -> Cell:
    mean, low, high = (None if v is None else v - 100 * baseline for v in (cell.mean, cell.low, cell.high))
    return Cell(mean, low, high, signed=True)


def support_rows(results: Sequence[Result]) -> list[TableRow]:
    """Scores on questions that the frames support, and on those that they do not, where the rows say.

    Args:
        results: of one or several models.
    """
    rows = []
    for result in results:
        for supported, words in ((True, "supported"), (False, "not supported")):
            scores = _scores(result, supported)
            if scores is not None and result.labels.condition == "normal":
                note = f"{scores.overall.n} of {len(result.answers)} questions"
                rows.append(scores_row(f"{result.title}, {words}", scores, [note]))
    return rows


def _scores(result: Result, supported: bool) -> Scores | None:
    answers = [answer for answer in result.answers if answer.supported is supported]
    if not answers:
        return None
    return summarise([a.task for a in answers], [a.score for a in answers], PRESENT, seed=result.labels.seed)
