"""The paper's tables in one command: which rows the given models allow, and why the others are missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from verl_vsi.evaluation.ask.checkpoints import CheckpointError
from verl_vsi.evaluation.ask.endpoint import Endpoint
from verl_vsi.evaluation.ask.evaluation import Evaluation, Job
from verl_vsi.evaluation.ask.journal import JournalError
from verl_vsi.evaluation.ask.merging import MergeError
from verl_vsi.evaluation.ask.run import run_jobs
from verl_vsi.evaluation.ask.server import ServerError, ServerSettings
from verl_vsi.evaluation.ask.soundness import UnsoundError
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.evaluation.score.published import PublishedRow, published
from verl_vsi.evaluation.score.result import Result

NAMES = {
    "base": None,
    "sft": "SFT",
    "dpo": "DPO",
    "vsgrpo-t": "vsGRPO-T",
    "vsgrpo-o": "vsGRPO-O",
    "vsgrpo-v": "vsGRPO-V",
}
"""What --given calls a model -> what the table calls its training."""
MODES = {"t": "think", "o": "observe"}
TABLES = ("1", "2")


@dataclass(frozen=True)
class TablePlan:
    """What a table needs.

    Args:
        table: ``1`` or ``2``.
        jobs: model -> its evaluations.
        missing: row -> why it is not made.
    """

    table: str
    jobs: Mapping[str, Sequence[Job]]
    missing: Mapping[str, str]


def plan_table(
    table: str, size: str, models: Mapping[str, str], evaluation: Evaluation, out: Path, max_tokens: int | None = None
) -> TablePlan:
    """The rows of a table for models of one size.

    Args:
        table: ``1`` (prompts on untrained models) or ``2`` (trained models).
        size: ``2B`` or ``7B``: which of the paper's models ours stand beside.
        models: name of `NAMES` -> model.
        evaluation: the questions, and a protocol whose frames and seed every row takes.
        out: results go to `out`/<row>/normal.json.
        max_tokens: new tokens of every row; None: each mode's own.

    Raises:
        ValueError: no such table or size, or too few tokens for a mode that is asked.
    """
    rows = [row for row in published()[f"table{table}"].rows if row.size == size] if table in TABLES else []
    if not rows:
        raise ValueError(f"table '{table}' has no rows for size '{size}'; --table 1 or 2, --size 2B or 7B")
    jobs: dict[str, list[Job]] = {}
    missing: dict[str, str] = {}
    for row in rows:
        name = next(n for n, trained in NAMES.items() if trained == row.trained)
        if name in models:
            jobs.setdefault(models[name], []).append(_job(row, name, models[name], evaluation, out, max_tokens))
        else:
            missing[row.key] = _why_missing(name, size)
    return TablePlan(table, jobs, missing)


def _job(row: PublishedRow, name: str, model: str, evaluation: Evaluation, out: Path, max_tokens: int | None) -> Job:
    """A row's evaluation: the mode and its budget are the row's, everything else is as planned for all."""
    mode = load_mode(str(row.mode))
    protocol = replace(evaluation.protocol, mode=mode, max_tokens=max_tokens or mode.response_length)
    folder = out / re.sub(r"[^\w.-]+", "_", row.key)
    evaluation = replace(evaluation, protocol=protocol, model=model, name=f"{name}, {row.mode}", table_row=row.key)
    return Job(evaluation, "normal", folder / "normal.json")


def _why_missing(name: str, size: str) -> str:
    kind, _, letter = name.partition("-")
    mode = f" mode={MODES[letter]}" if letter in MODES else ""
    recipe = f"; train one with +recipe={kind}_{size.lower()}{mode}" if name != "base" else ""
    return f"no model is given for it (--given {name}=...){recipe}"


def run_plan(
    plan: TablePlan, endpoint: Endpoint, server: ServerSettings, out: Path, console: Console
) -> tuple[list[Result], dict[str, str]]:
    """Evaluate what is planned, or take it from an earlier start.

    Args:
        plan: of `plan_table`.
        endpoint: whom to ask; see `run_jobs`.
        server: how to serve.
        out: where the servers' logs go.
        console: where progress shows.

    Returns:
        the results, and rows whose model can't be served, has changed since, or gave no sound answers, -> why; the
        others are made anyway.
    """
    results: list[Result] = []
    failed: dict[str, str] = {}
    for number, (model, jobs) in enumerate(plan.jobs.items()):
        log = out / f"server_{number}.log"
        try:
            results += run_jobs(model, jobs, replace(endpoint, model=model), server, log, console)
        except (CheckpointError, MergeError, ServerError, JournalError, UnsoundError) as error:
            failed |= {job.evaluation.table_row: str(error) for job in jobs}
    return results, failed
