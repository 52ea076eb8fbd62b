"""Tables of answers that other tools wrote: every rule beside each other, macro and micro, on each subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verl_vsi.evaluation.report.tables import Cell, TableRow, estimate_cell, scores_row
from verl_vsi.evaluation.score.predictions import RULES, Prediction, score_predictions
from verl_vsi.evaluation.score.scores import Scores, paired, summarise
from verl_vsi.evaluation.task_columns import PRESENT

BLIND = "_blind"
"""End of the name of a file whose model saw no video; the rest is the name of the file whose model did."""
OWN = "as in the file"
SEEDS = 10
"""Of random removals, as in test-set-training."""

Answered = Mapping[str, Sequence[Prediction]]
"""Name -> answers."""


def rescored_tables(answered: Answered, removed: frozenset[str] | None = None) -> dict[str, list[TableRow]]:
    """Title -> rows: a table a subset, and one of the gaps between video and no video.

    Args:
        answered: answers by name.
        removed: ids that VSI-Bench-Debiased leaves out; None: as the files say, where they do.
    """
    tables: dict[str, list[TableRow]] = {}
    for subset in ("full", "debiased", "pruned"):
        part = {name: _subset(answers, subset, removed) for name, answers in answered.items()}
        part = {name: answers for name, answers in part.items() if answers}
        if part:
            count = "/".join(str(n) for n in sorted({len(answers) for answers in part.values()}))
            tables[f"{subset}, {count} questions"] = [row for name in part for row in _rows(name, part[name])]
            if gaps := _gap_rows(part):
                tables[f"video − no video, {subset}"] = gaps
    if controls := _control_rows(answered, removed):
        tables[f"video − no video after as many random removals, {SEEDS} seeds"] = controls
    return tables


def name_of(path: Path) -> str:
    """What a table calls a file."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _subset(answers: Sequence[Prediction], subset: str, removed: frozenset[str] | None) -> list[Prediction]:
    if subset == "full":
        return list(answers)
    known = [(a, a.id in removed if removed is not None else a.pruned) for a in answers]
    return [answer for answer, pruned in known if pruned is not None and pruned == (subset == "pruned")]


def _rows(name: str, answers: Sequence[Prediction]) -> list[TableRow]:
    rows = [_row(f"{name}, {rule}", _scores(answers, score_predictions(answers, rule))) for rule in RULES]
    own = [answer.own for answer in answers]
    return rows + ([_row(f"{name}, {OWN}", _scores(answers, [o or 0.0 for o in own]))] if None not in own else [])


def _scores(answers: Sequence[Prediction], values: Sequence[float]) -> Scores:
    return summarise([answer.task for answer in answers], values, PRESENT)


def _row(name: str, scores: Scores) -> TableRow:
    return replace(scores_row(name, scores), micro=estimate_cell(scores.micro) if scores.micro else None)


def _pairs(answered: Answered) -> dict[str, tuple[list[Prediction], list[Prediction]]]:
    """Name -> answers with and without video to the same questions, in order of id."""
    pairs = {}
    for name, blind in answered.items():
        sighted = answered.get(name.removesuffix(BLIND))
        if name.endswith(BLIND) and sighted is not None:
            by_id = {answer.id: answer for answer in blind}
            both = sorted((answer for answer in sighted if answer.id in by_id), key=lambda answer: answer.id)
            pairs[name.removesuffix(BLIND)] = both, [by_id[answer.id] for answer in both]
    return pairs


def _gap_rows(answered: Answered) -> list[TableRow]:
    rows = []
    for name, (sighted, blind) in _pairs(answered).items():
        for rule in RULES:
            scores = (score_predictions(blind, rule), score_predictions(sighted, rule))
            rows.append(_row(f"{name}, {rule}", paired([answer.task for answer in sighted], *scores, PRESENT)))
    return rows


def _control_rows(answered: Answered, removed: frozenset[str] | None) -> list[TableRow]:
    """The gap (micro) where as many questions are left out at random as VSI-Bench-Debiased leaves out."""
    rows = []
    for name, (sighted, blind) in _pairs(answered).items():
        kept = len(_subset(sighted, "debiased", removed))
        if not kept:
            continue
        for rule in RULES:
            gaps = np.subtract(score_predictions(sighted, rule), score_predictions(blind, rule))
            means = random_removals(gaps, len(gaps) - kept)
            cell = Cell(float(means.mean()), error=float(means.std(ddof=1)))
            rows.append(TableRow(f"{name}, {rule}", Cell(None), notes=("micro; ± deviation over seeds",), micro=cell))
    return rows


def random_removals(gaps: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The mean gap in per cent after each of `SEEDS` random removals, which are those of test-set-training.

    Args:
        gaps: of the questions in the order of their ids as text, 0 to 1.
        count: of questions to remove.
    """
    draws = (np.random.default_rng(s).choice(len(gaps), size=count, replace=False) for s in range(SEEDS))
    return np.array([100 * np.delete(gaps, drawn).mean() for drawn in draws])
