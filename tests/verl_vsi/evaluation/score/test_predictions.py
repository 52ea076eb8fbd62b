"""Answers in other tools' files, written here from the formats' descriptions, score as those tools score them."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.data_adapters.schema import NUMERIC, TASKS
from verl_vsi.evaluation.score.predictions import RULES, Prediction, read_predictions, score_predictions
from verl_vsi.evaluation.score.scores import summarise
from verl_vsi.evaluation.task_columns import PRESENT

LETTERS = ("A", "B", "C", "D")
OPTIONS = ["A. chair", "B. sofa", "C. table", "D. lamp"]


def records(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """The benchmark's records with an answer each, as varied as models write them."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        task = TASKS[number % len(TASKS)]
        truth = f"{draw.choice((1, 2, 3.5, 120, 14.2))}" if task in NUMERIC else draw.choice(LETTERS)
        written = draw.choice(
            (truth, f"{truth}.", f"{truth} m", "about 3", "two chairs", "", "B", "B. sofa", "7", "2.0", "b")
        )
        options = None if task in NUMERIC else OPTIONS
        rows.append({"id": 1000 + number, "dataset": "scannet", "scene_name": "scene0000_00", "question_type": task,
                     "question": "?", "ground_truth": truth, "options": options, "pruned": number % 3 == 0,
                     "prediction": written})  # fmt: skip
    return rows


def lmms_eval_line(record: dict[str, Any]) -> dict[str, Any]:
    doc = {key: value for key, value in record.items() if key != "prediction"}
    return {"doc_id": 0, "doc": doc, "target": record["ground_truth"], "filtered_resps": [record["prediction"]],
            "resps": [[record["prediction"]]]}  # fmt: skip


def as_lmms_eval(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "model_samples_vsibench.jsonl"
    path.write_text("".join(json.dumps(lmms_eval_line(row)) + "\n" for row in rows))
    return path


def as_records(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "model.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def _table(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": row["id"] - 1000,
        "id": row["id"],
        "video": row["scene_name"],
        "type": row["question_type"],
        "answer": row["ground_truth"],
        "candidates": str(row["options"]),
        "prediction": row["prediction"],
    }


def as_csv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "model_VSI-Bench_32frame.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(_table(rows[0])))
        writer.writeheader()
        writer.writerows(map(_table, rows))
    return path


def as_sheet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(list(_table(rows[0])))
    for row in rows:
        book.active.append(list(_table(row).values()))
    book.save(folder / "model_VSI-Bench_32frame_extract_matching.xlsx")
    return folder / "model_VSI-Bench_32frame_extract_matching.xlsx"


WRITERS = [as_lmms_eval, as_records, as_csv, as_sheet]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_format_holds_the_same_answers(tmp_path: Path, write: Callable[..., Path]) -> None:
    rows = records(200)
    answers = read_predictions(write(tmp_path, rows))
    assert [a.id for a in answers] == [str(row["id"]) for row in rows]
    assert [(a.task, a.truth, a.response) for a in answers] == [
        (row["question_type"], row["ground_truth"].removesuffix(".0"), row["prediction"]) for row in rows
    ]
    assert [a.options for a in answers] == [tuple(row["options"] or ()) for row in rows]


def test_ids_and_answers_take_their_questions_from_the_benchmark(tmp_path: Path) -> None:
    rows = records(50)
    path = tmp_path / "plain.jsonl"
    path.write_text("".join(json.dumps({"id": row["id"], "answer": row["prediction"]}) + "\n" for row in rows))
    questions = {str(row["id"]): {k: v for k, v in row.items() if k != "prediction"} for row in rows}
    answers = read_predictions(path, questions)
    assert [(a.truth, a.response) for a in answers] == [(row["ground_truth"], row["prediction"]) for row in rows]


ANSWER = '{"id": 1, "question_type": "route_planning", "ground_truth": "A", "prediction": "A"}\n'
BROKEN = [
    ('{"id": 1}\n{"id": 2}\n', "row 1.*none of VSI-Bench's.*--questions"),
    ('{"id": 1, "question_type": "room_size_estimation", "ground_truth": "0", "prediction": "1"}', "true answer '0'"),
    ('{"question_type": "route_planning", "ground_truth": "A", "prediction": "A"}', "no id"),
    (ANSWER * 2, "stands in it twice"),
    (ANSWER + '{"id": 2, "question_type"', "row 2: "),
    (ANSWER + "[1, 2]\n", "row 2: "),
    ("", "empty"),
    ('["x"]', "expected a list of records"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[case[1][:30] for case in BROKEN])
def test_a_file_that_cannot_be_scored_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_predictions(tmp_path / "a.jsonl")


VLMEVALKIT = [  # eva_one_row of its vsibench.py, by hand
    ("route_planning", "B", "b", 1.0),
    ("route_planning", "B", "B. sofa", 1.0),
    ("route_planning", "B", "B sofa", 0.0),
    ("object_counting", "4", "4", 1.0),
    ("object_counting", "4", "4 chairs", 0.0),
    ("object_counting", "4", "3", 0.5),  # 0.25 off: below .5, .45, .4, .35, .3, and not below .25
    ("object_counting", "4", "", 0.0),
]


@pytest.mark.parametrize(("task", "truth", "response", "score"), VLMEVALKIT)
def test_vlmevalkits_own_rule(task: str, truth: str, response: str, score: float) -> None:
    assert score_predictions([Prediction("1", task, truth, response)], "vlmevalkit") == [score]


def test_lmms_evals_own_code_gives_the_same(tmp_path: Path) -> None:
    theirs = pytest.importorskip("lmms_eval.tasks.vsibench.utils")
    rows = records(5000)
    answers = read_predictions(as_lmms_eval(tmp_path, rows))
    docs = [theirs.vsibench_process_results(dict(row), [row["prediction"]])["vsibench_overall"] for row in rows]
    ours = score_predictions(answers, "lmms_eval")
    assert ours == pytest.approx([doc.get("accuracy", doc.get("MRA:.5:.95:.05")) for doc in docs], abs=1e-12)
    overall = summarise([a.task for a in answers], ours, PRESENT).overall.mean
    assert round(overall, 6) == theirs.vsibench_aggregate_overall(docs)


def test_micro_is_the_mean_of_the_questions_and_macro_that_of_the_tasks() -> None:
    answers = [
        Prediction("1", "route_planning", "A", "A"),
        *[Prediction(str(i), "obj_appearance_order", "A", "B") for i in range(2, 5)],
    ]
    scores = summarise([a.task for a in answers], score_predictions(answers, "official"), PRESENT)
    assert scores.overall.mean == 0.5
    assert scores.micro is not None
    assert (scores.micro.mean, scores.micro.n) == (0.25, 4)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_raises_whatever_was_written(rule: str) -> None:
    odd = ["", " ", "\x00", "1e999", "-", "nan", "½", "A" * 10_000, "9" * 5000]
    scores = score_predictions(
        [Prediction("1", task, "2" if task in NUMERIC else "A", text) for task in TASKS for text in odd], rule
    )
    assert all(0 <= score <= 1 for score in scores)
