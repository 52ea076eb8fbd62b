"""What is exported: a model's answers, with the benchmark's own ids where its questions are at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verl_vsi.evaluation.score.predictions import Prediction
from verl_vsi.evaluation.score.result import Result
from verl_vsi.evaluation.score.scores import Scores, summarise
from verl_vsi.evaluation.task_columns import PRESENT


@dataclass(frozen=True)
class Answers:
    """What is exported.

    Args:
        name: of the model, as files are called.
        predictions: its answers.
        subset: ``full`` or ``debiased``.
        remarks: what the scores depend on, in words.
    """

    name: str
    predictions: Sequence[Prediction]
    subset: str = "full"
    remarks: str = ""

    @property
    def file_name(self) -> str:
        """The name without what a path can't hold."""
        return re.sub(r"[^\w.+-]+", "_", self.name.replace("/", "__"))


def answers_of(result: Result, questions: Iterable[Mapping[str, Any]] = ()) -> Answers:
    """A result's answers.

    Args:
        result: of verl-vsi eval.
        questions: the benchmark's records, for its ids and options; without them the row's place is the id.

    Raises:
        ValueError: there are records, but none for a question.
    """
    labels = result.labels
    name = result.name if labels.condition == "normal" else f"{result.name}_{labels.condition}"
    subset = "debiased" if labels.data.get("subset") == "debiased" else "full"
    shown = ("preset", "prompts", "extraction", "frames", "nframes", "max_pixels", "decoding")
    remarks = "; ".join([f"verl-vsi, {labels.condition}", *[f"{label} {getattr(labels, label)}" for label in shown]])
    return Answers(name, _with_ids(result, list(questions)), subset, remarks)


def _with_ids(result: Result, questions: Sequence[Mapping[str, Any]]) -> list[Prediction]:
    records: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in questions:
        key = tuple(str(record[k]) for k in ("scene_name", "question_type", "question", "ground_truth"))
        records.setdefault(key, []).append(record)
    predictions = []
    for answer in result.answers:
        record: Mapping[str, Any] = {"id": answer.index}
        if questions:
            same = records.get(answer.question_key)
            if not same:
                raise ValueError(
                    f"row {answer.index} (scene '{answer.scene_id}', '{answer.question[:60]}') is none of --questions; "
                    "give the file that the rows were made of, or none"
                )
            record = same.pop(0) if len(same) > 1 else same[0]
        predictions.append(
            Prediction(
                id=str(record["id"]),
                task=answer.task,
                truth=answer.truth,
                response=answer.response,
                options=tuple(record.get("options") or ()),
                scene=answer.scene_id,
                question=answer.question,
            )
        )
    return predictions


def average(answers: Answers, values: Sequence[float]) -> Scores:
    """Their averages; intervals are not exported, and not drawn.

    Args:
        answers: what is exported.
        values: (N,) each answer's score, 0 to 1.
    """
    return summarise([one.task for one in answers.predictions], values, PRESENT, draws=1)


def number_of(identity: str) -> int | str:
    """An id as the benchmark writes it."""
    return int(identity) if identity.isascii() and identity.isdigit() else identity
