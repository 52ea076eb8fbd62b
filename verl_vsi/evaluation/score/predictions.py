"""Answers that other tools wrote, read from their files and scored by every rule in use.

What is known by its content, not by its name:

- lmms-eval's ``*_samples_vsibench*.jsonl``: a ``doc`` in each line, the response in ``filtered_resps`` or ``resps``;
- VLMEvalKit's and EASI's ``.xlsx``, ``.csv`` and ``.tsv``: columns `type` or `question_type`, `answer`, `prediction`;
- the records of test-set-training (arXiv 2511.04655): ``id``, ``question_type``, ``ground_truth``, ``prediction``;
- JSON lines or a JSON list with an id and an answer, beside a file of VSI-Bench's questions.

Questions are told apart by `id`, never by place: the benchmark's row order has changed.
"""

from __future__ import annotations

import ast
import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.importers.records import load_records
from verl_vsi.data_adapters.schema import NUMERIC, TASKS, Kind, Rejected
from verl_vsi.evaluation.score.grade import score_of
from verl_vsi.rewards.answers import extract

FIELDS = {
    "id": ("id", "question_id", "index", "doc_id"),
    "task": ("question_type", "type", "task"),
    "truth": ("ground_truth", "answer", "gt"),
    "response": ("prediction", "response", "pred", "model_answer"),
    "options": ("options", "candidates"),
    "scene": ("scene_name", "video", "scene_id"),
    "pruned": ("pruned",),
}
"""What a prediction holds -> names of columns, the surest first."""
OWN_SCORES = ("MRA:.5:.95:.05", "accuracy", "hit", "score")
"""Columns in which tools note their own score of an answer, 0 to 1."""
RULES = ("official", "lmms_eval", "vlmevalkit", "robust")
"""Ways to read and score an answer: three extractions of `verl_vsi.rewards.answers`, and VLMEvalKit's own."""


@dataclass(frozen=True)
class Prediction:
    """One answered question.

    Args:
        id: the benchmark's.
        task: question type.
        truth: the answer as text.
        response: what the model wrote.
        options: ``A. chair``, ...; empty where the file has none.
        scene: whose scene it is about; empty where not known.
        pruned: whether VSI-Bench-Debiased leaves it out; None: not known.
        own: the score that the file gives it; None: none.
        question: what was asked; empty where the file does not say.
    """

    id: str
    task: str
    truth: str
    response: str
    options: tuple[str, ...] = ()
    scene: str = ""
    pruned: bool | None = None
    own: float | None = None
    question: str = ""

    @property
    def kind(self) -> Kind:
        """How it is scored."""
        return "number" if self.task in NUMERIC else "choice"


def read_predictions(path: str | Path, questions: Mapping[str, Mapping[str, Any]] | None = None) -> list[Prediction]:
    """The answered questions of a file, in its order.

    Args:
        path: see the module.
        questions: id -> the benchmark's record, for files that hold ids and answers only.

    Raises:
        ValueError: a line that is no record, a record without what it takes, an unknown question type, or an id twice;
            says which, and what the record has.
    """
    path = Path(path)
    predictions = [_prediction(record, where, questions or {}) for where, record in _records(path)]
    seen: set[str] = set()
    for one in predictions:
        if one.id in seen:
            raise ValueError(f"{path}: question {one.id} stands in it twice; a file has one answer to each question")
        seen.add(one.id)
    return predictions


def score_predictions(predictions: Iterable[Prediction], rule: str) -> list[float]:
    """Each answer's score, 0 to 1.

    Args:
        predictions: answered questions.
        rule: one of `RULES`.
    """
    return [_score(one, rule) for one in predictions]


def _score(one: Prediction, rule: str) -> float:
    if rule == "vlmevalkit":
        return _vlmevalkit(one)
    return score_of(extract(rule, one.response, one.kind, task=one.task, options=one.options), one.truth)


def _vlmevalkit(one: Prediction) -> float:
    """VLMEvalKit's first rule (today's reads looser): a choice must begin with the letter and a point.

    A number must be the whole answer. Its ten tolerances are strict, where VSI-Bench's are not.
    """
    response, truth = one.response.lower(), one.truth.lower()
    if one.kind == "choice":
        return float(response == truth or response.startswith(f"{truth}."))
    try:
        distance = abs(float(response) - float(truth)) / float(truth)
    except (ValueError, ZeroDivisionError):
        return 0.0
    return sum(distance < 1 - (0.5 + 0.05 * step) for step in range(10)) / 10


def _prediction(record: Mapping[str, Any], where: str, questions: Mapping[str, Mapping[str, Any]]) -> Prediction:
    record = _flat(record)
    identity = _text(_first(record, "id"))
    if not identity:
        raise ValueError(f"{where}: no id, under none of {', '.join(FIELDS['id'])}; it has {', '.join(record)}")
    known = questions.get(identity)
    if known is not None:
        record = {**known, **_answer(record)}
    task, truth = _text(_first(record, "task")), _text(_first(record, "truth"))
    if task not in TASKS:
        raise ValueError(
            f"{where}: question {identity} is of type '{task}', which is none of VSI-Bench's; for a file of ids and "
            "answers, name the questions: --questions test.jsonl"
        )
    if not truth or (task in NUMERIC and not _is_number(truth)):
        raise ValueError(
            f"{where}: question {identity} has the true answer '{truth}', which nothing can be held against"
        )
    pruned = _first(record, "pruned")
    return Prediction(
        id=identity,
        task=task,
        truth=truth,
        response=_text(_first(record, "response")),
        options=_options(_first(record, "options")),
        scene=_text(_first(record, "scene")),
        pruned=None if pruned is None else str(pruned).lower() in ("true", "1"),
        own=_own(record),
        question=_text(record.get("question")),
    )


def _answer(record: Mapping[str, Any]) -> dict[str, Any]:
    """The response of a record that holds no question: there, `answer` is the model's."""
    response = _first(record, "response")
    return {"prediction": record.get("answer") if response is None else response}


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of lmms-eval: its ``doc``, and the response from beside it."""
    doc = record.get("doc")
    if not isinstance(doc, Mapping):
        return dict(record)
    response = doc.get("prediction", record.get("filtered_resps", record.get("resps")))
    while isinstance(response, list):
        response = response[0] if response else ""
    inner = next((v for v in record.values() if isinstance(v, Mapping) and "prediction" in v), {})
    own = {key: inner[key] for key in OWN_SCORES if key in inner}
    return {**doc, **own, "prediction": inner.get("prediction", response)}


def _first(record: Mapping[str, Any], field: str) -> Any:
    return next((record[name] for name in FIELDS[field] if record.get(name) is not None), None)


def _text(value: Any) -> str:
    """As text; a whole number without the point that tables give it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and float(text) > 0
    except ValueError:
        return False


def _options(value: Any) -> tuple[str, ...]:
    """A list, or how pandas writes one into a table's cell."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _own(record: Mapping[str, Any]) -> float | None:
    for name in OWN_SCORES:
        value = record.get(name)
        if value not in (None, "") and not (isinstance(value, float) and math.isnan(value)):
            return float(value)
    return None


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, record) of each answer."""
    if path.suffix == ".xlsx":
        yield from _sheet(path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
    else:
        for where, record in load_records(path):
            if isinstance(record, Rejected):
                raise ValueError(f"{where}: {record.reason}, where a record with an id and an answer belongs")
            yield where, record


def _sheet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(
            f"{path}: reading .xlsx needs openpyxl: pip install openpyxl, or save the sheet as .csv"
        ) from error
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    rows = workbook.active.iter_rows(values_only=True)  # pyright: ignore[reportOptionalMemberAccess]
    head = [str(cell) for cell in next(rows, ())]
    for number, row in enumerate(rows, 2):
        yield f"{path}, row {number}", dict(zip(head, row, strict=False))
