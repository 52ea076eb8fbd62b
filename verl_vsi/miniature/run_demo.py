"""Run the demonstration, and show what came out: report.json, tables, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.items import read_set
from verl_vsi.evaluation.report.contents import Contents, tables
from verl_vsi.evaluation.report.report_files import write_report
from verl_vsi.evaluation.report.table_formats import terminal_table
from verl_vsi.evaluation.report.training_logs import read_run
from verl_vsi.evaluation.score.baselines import baselines
from verl_vsi.evaluation.score.result import Result, read_result, versions
from verl_vsi.evaluation.score.scores import Estimate, Scores
from verl_vsi.evaluation.score.seeds import differences
from verl_vsi.evaluation.task_columns import VSI100K
from verl_vsi.miniature.demo import Demo, data_stages, evaluation_stage, training_stages
from verl_vsi.miniature.pipeline import run_stages

OPENING = """The paper's experiment in miniature: rendered rooms for ScanNet, a 1 M parameter Qwen2-VL for 2B and 7B,
this machine's CPU for GPUs. verl, Ray, FSDP2 and vLLM are the real ones. Logs: {logs}"""

TRAINED = ("sft", "vsgrpo")
CONSTANT = "best_constant"
"""What ``chance`` in the report means: the answer of each task that scores best on the training rows, every time."""


def run_demo(demo: Demo, console: Console) -> None:
    """Run what is not done yet, then print the tables and write report.json and the pictures.

    Args:
        demo: what is run, and where.
        console: where progress and tables are shown.

    Raises:
        StageError: a stage failed; what is done is kept.
    """
    console.print(OPENING.format(logs=demo.folder / "logs"))
    stages = [*data_stages(demo), evaluation_stage(demo, "base"), *training_stages(demo)]
    stages += [evaluation_stage(demo, model) for model in TRAINED]
    seconds = run_stages(stages, demo.folder, console)
    best = best_model(demo)
    seconds |= run_stages([evaluation_stage(demo, best, ("shuffled", "blind"))], demo.folder, console)
    report = write_summary(demo, best, seconds)
    _show(demo, best, console)
    console.print(f"{sum(seconds.values()):.0f} s in all; {report}")


def best_model(demo: Demo) -> str:
    """The trained model with the higher overall score."""
    return max(TRAINED, key=lambda model: read_result(demo.result(model)).scores["score"].overall.mean)


def results(demo: Demo, best: str) -> dict[str, Result]:
    """Results by their key in the report.

    Args:
        demo: all of whose stages are done.
        best: the trained model that was scored under every condition.
    """
    paths = {model: demo.result(model) for model in ("base", *TRAINED)}
    paths |= {condition: demo.result(best, condition) for condition in ("shuffled", "blind")}
    return {key: read_result(path) for key, path in paths.items()}


def write_summary(demo: Demo, best: str, seconds: Mapping[str, float]) -> Path:
    """Write ``report.json``; returns its path.

    Keys: ``base``, ``sft``, ``vsgrpo``, ``shuffled`` (the best model on other rooms' videos), ``blind`` (without
    video), ``chance`` (the best constant), each with ``overall``, ``tasks`` and the paper's ``reward`` in 0 to 1;
    ``best``, ``seconds`` by stage and in all, ``versions``, ``seed``.

    Args:
        demo: all of whose stages are done.
        best: as `best_model` gives it.
        seconds: by the stage's name.
    """
    record: dict[str, Any] = {key: _scores(result.scores) for key, result in results(demo, best).items()}
    record["chance"] = _scores(_constant_scores(demo))
    record["best"] = best
    record["seconds"] = {**seconds, "total": round(sum(seconds.values()), 1)}
    record["versions"] = versions()
    record["seed"] = demo.seed
    path = demo.folder / "report.json"
    write_text(path, json.dumps(record, indent=1))
    return path


def _constant_scores(demo: Demo) -> dict[str, Scores]:
    heldout, train = (read_set(demo.rows(split)).items for split in ("heldout", "train"))
    return baselines(heldout, VSI100K, source=train, seed=demo.seed)[CONSTANT]


def _scores(scores: Mapping[str, Scores]) -> dict[str, Any]:
    score = scores["score"]
    return {
        "overall": _estimate(score.overall),
        "tasks": {task: _estimate(estimate) for task, estimate in score.tasks.items()},
        "reward": _estimate(scores["reward"].overall),
    }


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in vars(estimate).items()}


def _show(demo: Demo, best: str, console: Console) -> None:
    evaluated = list(results(demo, best).values())
    trained = [read_run(demo.folder / name, name) for name in TRAINED]
    contents = Contents(evaluated, trained, differences=differences(evaluated, ("base",)))
    for title, rows in tables(contents).items():
        console.print(terminal_table(rows, title))
    for path in write_report(demo.folder / "report", contents):
        console.print(f"[dim]written: {path}[/dim]", soft_wrap=True)
