"""What is evaluated and how, checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from verl_vsi.data_adapters.files import inside
from verl_vsi.evaluation.ask.content_parts import Send
from verl_vsi.evaluation.conditions import CONDITIONS, Condition, under
from verl_vsi.evaluation.items import Item, QuestionSet, read_set
from verl_vsi.evaluation.labels import Labels
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.evaluation.task_columns import PRESENT, TASK_SETS, TaskSet, check_tasks, declared_by


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and how.

    Args:
        questions: what to ask.
        protocol: how to ask and read.
        task_set: the tasks of the average.
        root: data root of the videos.
        store: the frame store's folder.
        model: the label of the model, e.g. its folder.
        name: what tables call it; empty: the model's label.
        send: how videos travel.
        table_row: the row of the paper's tables that this is, as `PublishedRow.key` names it.
        served: which weights, and how they are served; answers of others are not taken for this model's.
        incomplete: write a result also where requests failed or nothing could be read; such answers score 0.
    """

    questions: QuestionSet
    protocol: Protocol
    task_set: TaskSet
    root: Path
    store: Path
    model: str
    name: str = ""
    send: Send = "video"
    table_row: str = ""
    served: Mapping[str, str] = field(default_factory=dict)
    incomplete: bool = False

    def items(self, condition: Condition) -> tuple[Item, ...]:
        """The questions under a condition."""
        return under(self.questions.items, condition, self.protocol.seed, self.protocol.frames.choice)

    def labels(self, condition: Condition) -> Labels:
        """What the scores depend on; where only some questions are asked, the average is over their tasks."""
        task_set = PRESENT if condition == "removed" else self.task_set
        return Labels(
            tasks=task_set.name,
            averaging=task_set.label,
            name=self.name,
            model=self.model,
            served=self.served,
            condition=condition,
            set=self.questions.name,
            data=self.questions.fingerprint,
            table_row=self.table_row,
            sent_as={"video": "a video of PNG frames", "images": "PNG images"}[self.send],
            **self.protocol.labels(),
        )


@dataclass(frozen=True)
class Job:
    """An evaluation under one condition, and the file of its result."""

    evaluation: Evaluation
    condition: Condition
    out: Path


def make_evaluation(
    rows: Path,
    protocol: Protocol,
    root: Path | None,
    *,
    store: Path | None = None,
    tasks: str | None = None,
    per_task: int | None = None,
) -> Evaluation:
    """An evaluation of a file of rows, without a model yet.

    Args:
        rows: the questions.
        protocol: how to ask and read.
        root: the data root.
        store: the frame store's folder; None: ``frames`` under the root.
        tasks: name of the average's task set; None: what the rows declare.
        per_task: questions a task; None: all.

    Raises:
        ValueError: there is no root, or no such task set, or the average's tasks have no question.
        FileNotFoundError: the rows or some of their videos are missing.
    """
    if root is None:
        raise ValueError("the data root is not set: give --root, or set VSI_ROOT, to the folder that holds the videos")
    if tasks is not None and tasks not in TASK_SETS:
        raise ValueError(f"--tasks '{tasks}' is unknown; choose one of {', '.join(TASK_SETS)}")
    questions = read_set(rows, limit=per_task, seed=protocol.seed)
    task_set = TASK_SETS[tasks] if tasks else declared_by(item.data_source for item in questions.items)
    evaluation = Evaluation(questions, protocol, task_set, root, store or root / "frames", model="")
    check_evaluation(evaluation)
    return evaluation


def check_evaluation(evaluation: Evaluation) -> None:
    """Refuse before a model is loaded what would fail after.

    Raises:
        MissingTaskError: a task of the average has no question.
        FileNotFoundError: videos are missing; says how many and which first.
    """
    items, root = evaluation.questions.items, evaluation.root
    check_tasks([item.task for item in items], evaluation.task_set)
    videos = sorted({item.video for item in items if item.video})
    missing = [video for video in videos if not inside(root, video).exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(videos)} videos are not under {root}, the first: {missing[0]}. "
            "Set --root (or VSI_ROOT) to the folder that the rows' paths start from"
        )


def condition_jobs(evaluation: Evaluation, conditions: Sequence[str], out: Path) -> list[Job]:
    """One job a condition, into `out`/<condition>.json.

    Args:
        evaluation: of a model.
        conditions: of `items.CONDITIONS`.
        out: folder of the results.

    Raises:
        ValueError: an unknown condition.
    """
    if unknown := [c for c in conditions if c not in CONDITIONS]:
        raise ValueError(f"condition '{unknown[0]}' is unknown; choose of {', '.join(CONDITIONS)}")
    if "removed" in conditions and not evaluation.items("removed"):
        raise ValueError(
            "--condition removed: no row says what it asks for and which frames show it; take rows of data build from "
            "rendered rooms, or of ScanNet with --frame-aware or --recipe"
        )
    return [Job(evaluation, cast(Condition, c), out / f"{c}.json") for c in conditions]
