"""What the story ends with: report.json, a table, and what the comparison of its models says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.baselines import baselines
from verl_vsi.evaluation.items import read_set
from verl_vsi.evaluation.result import Result, read_result, versions
from verl_vsi.evaluation.scores import Estimate, Scores
from verl_vsi.evaluation.taskset import VSI100K
from verl_vsi.miniature.story import Story

CONSTANT = "best_constant"
"""What ``chance`` in the report means: the answer of each task that scores best on the training rows, every time."""


def results(story: Story, best: str) -> dict[str, Result]:
    """Results of the story by their key in the report."""
    paths = {model: story.result(model) for model in ("base", "sft", "vsgrpo")}
    paths |= {condition: story.result(best, condition) for condition in ("shuffled", "blind")}
    return {key: read_result(path) for key, path in paths.items()}


def best_model(story: Story) -> str:
    """The trained model with the higher overall score."""
    return max(("sft", "vsgrpo"), key=lambda model: read_result(story.result(model)).scores["score"].overall.mean)


def write_summary(story: Story, best: str, seconds: Mapping[str, float]) -> Path:
    """Write ``report.json``; returns its path.

    Keys: ``base``, ``sft``, ``vsgrpo``, ``shuffled`` (the best model on other rooms' videos), ``blind`` (without
    video), ``chance`` (the best constant), each with ``overall``, ``tasks`` and the paper's ``reward`` in 0 to 1;
    ``best``, ``seconds`` by phase and in all, ``versions``, ``seed``.
    """
    found = results(story, best)
    record: dict[str, Any] = {key: _scores(result.scores) for key, result in found.items()}
    record["chance"] = _scores(_constant(story))
    record["best"] = best
    record["seconds"] = {**seconds, "total": round(sum(seconds.values()), 1)}
    record["versions"] = versions()
    record["seed"] = story.seed
    path = story.folder / "report.json"
    write_text(path, json.dumps(record, indent=1))
    return path


def _constant(story: Story) -> dict[str, Scores]:
    heldout, train = (read_set(story.rows(split)).items for split in ("heldout", "train"))
    return baselines(heldout, VSI100K, source=train, seed=story.seed)[CONSTANT]


def _scores(scores: Mapping[str, Scores]) -> dict[str, Any]:
    score = scores["score"]
    return {
        "overall": _estimate(score.overall),
        "tasks": {task: _estimate(estimate) for task, estimate in score.tasks.items()},
        "reward": _estimate(scores["reward"].overall),
    }


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in vars(estimate).items()}
