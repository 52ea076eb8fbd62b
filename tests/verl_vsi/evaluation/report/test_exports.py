"""Answers in other harnesses' files read back to the same scores: by those tools' own code where it is importable.

lmms-eval is on PyPI. VLMEvalKit and EASI are not: clone them and put them (EASI's ``scripts/submissions``) on
PYTHONPATH to run their tests; without them independent readers, written here from the formats' descriptions, do.
"""

from __future__ import annotations

import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.report import app
from verl_vsi.data_adapters.schema import NUMERIC, TASKS
from verl_vsi.evaluation.items import Reply
from verl_vsi.evaluation.labels import Labels
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.report.exports import EXPORTS, Answers, answers_of, export
from verl_vsi.evaluation.score.predictions import Prediction, read_predictions, score_predictions
from verl_vsi.evaluation.score.result import make_result, write_result
from verl_vsi.evaluation.score.scores import summarise
from verl_vsi.evaluation.task_columns import PRESENT

OPTIONS = ("A. chair", "B. sofa", "C. table", "D. lamp")


def predictions(count: int, seed: int = 0) -> list[Prediction]:
    """Answers as varied as models write them."""
    draw = random.Random(seed)
    answers = []
    for number in range(count):
        task = TASKS[number % len(TASKS)]
        truth = f"{draw.choice((1, 2, 3.5, 120, 14.2))}" if task in NUMERIC else draw.choice("ABCD")
        written = draw.choice(
            (truth, f"{truth}.", f"{truth} m", "about 3", "two chairs", "", "B", "B. sofa", "7", "2.0", "b", "=1+1",
             "ß\u2028\n7", "x" * 200, "-3")
        )  # fmt: skip
        options = () if task in NUMERIC else OPTIONS
        answers.append(Prediction(str(1000 + number), task, truth, written, options, "scene0001_00", question="q?"))
    return answers


@pytest.mark.parametrize(
    ("form", "file", "rule"),
    [
        ("lmms-eval", "org__model/verl-vsi_samples_vsibench.jsonl", "lmms_eval"),
        ("vlmevalkit", "org__model_VSI-Bench_32frame.xlsx", "vlmevalkit"),
        ("easi", "org__model/verl-vsi_samples_vsibench_multiimage.jsonl", "lmms_eval"),
    ],
)
def test_answers_come_back_as_they_were_with_the_tools_score_beside_them(
    tmp_path: Path, form: str, file: str, rule: str
) -> None:
    answers = predictions(5000)
    export(form, Answers("org/model", answers), tmp_path)
    back = read_predictions(tmp_path / file)
    blank = [replace(a, response=a.response or " ") if form == "vlmevalkit" else a for a in answers]
    assert [replace(b, own=None) for b in back] == blank
    assert [b.own for b in back] == ([None] * 5000 if form == "vlmevalkit" else score_predictions(answers, rule))
    assert score_predictions(back, rule) == score_predictions(answers, rule)


def test_lmms_evals_own_code_gives_the_exported_scores(tmp_path: Path) -> None:
    theirs = pytest.importorskip("lmms_eval.tasks.vsibench.utils")
    results, samples = export("lmms-eval", Answers("m", predictions(5000)), tmp_path)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    docs = [theirs.vsibench_process_results(dict(line["doc"]), line["filtered_resps"]) for line in lines]
    exported = json.loads(results.read_text())["results"]["vsibench"]
    for metric in docs[0]:
        aggregate = "overall" if metric == "vsibench_overall" else metric
        own = getattr(theirs, f"vsibench_aggregate_{aggregate}")([doc[metric] for doc in docs])
        assert exported[f"{metric},none"] == own
    assert len(exported) == 1 + len(docs[0])


def test_easis_own_code_makes_the_exported_submission(tmp_path: Path) -> None:
    adapter = pytest.importorskip("backends.lmmseval", reason="EASI's scripts/submissions is not on PYTHONPATH")
    postprocess = pytest.importorskip("postprocess")
    export("easi", Answers("m", predictions(5000)), tmp_path)
    payload = postprocess.build_payload(
        tmp_path / "m", "m", {"vsi_bench": "vsibench_multiimage"}, backend_adapter=adapter.LmmsEvalAdapter()
    )
    assert payload == json.loads((tmp_path / "easi_results.json").read_text())


def test_easis_submission_read_by_its_description(tmp_path: Path) -> None:
    """Per cent to four places of lmms-eval's metrics; a zip of the files under the model's name."""
    answers = predictions(5000)
    export("easi", Answers("m", answers), tmp_path)
    payload = json.loads((tmp_path / "easi_results.json").read_text())
    scores = summarise([a.task for a in answers], score_predictions(answers, "lmms_eval"), PRESENT, draws=1)
    assert payload["scores"] == {"vsi_bench": round(100 * scores.overall.mean, 4)}
    assert payload["subScores"]["vsi_bench"].keys() == {
        "obj_appearance_order_accuracy", "object_abs_distance", "object_counting", "object_rel_direction_accuracy",
        "object_rel_distance_accuracy", "object_size_estimation", "room_size_estimation", "route_planning_accuracy",
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "easi_results.zip") as archive:
        assert archive.namelist() == ["m/verl-vsi_results.json", "m/verl-vsi_samples_vsibench_multiimage.jsonl"]


def test_vlmevalkits_own_code_scores_the_sheet_as_the_answers(tmp_path: Path) -> None:
    theirs = pytest.importorskip("vlmeval.dataset.utils.spatial_bench.cal_scores", reason="VLMEvalKit is not there")
    pandas = pytest.importorskip("pandas")
    answers = predictions(5000)
    [sheet] = export("vlmevalkit", Answers("m", answers), tmp_path)
    given = pandas.DataFrame(
        [{"question_type": a.task, "answer": a.truth, "prediction": a.response or " "} for a in answers]
    )
    read = pandas.read_excel(sheet)
    assert read["index"].tolist() == list(range(5000))
    for score, column, numeric in (
        (theirs.compute_mcq_score, "hit", False), (theirs.compute_na_score, "MRA:.5:.95:.05", True)
    ):  # fmt: skip
        one, other = (score(table[table["question_type"].isin(NUMERIC) == numeric]) for table in (given, read))
        assert one[column].tolist() == other[column].tolist()
        assert 0 < one[column].mean() < 1


LABELS = Labels(tasks="present", averaging="macro", model="org/model", condition="normal", set="rows", data={},
                preset="official", mode="vanilla", prompts="official", extraction="official", frames="f", nframes=32,
                min_pixels=1, max_pixels=2, decoding="greedy")  # fmt: skip


def test_the_command_takes_ids_and_options_from_the_benchmarks_file(tmp_path: Path, make_item: Any) -> None:
    items = [make_item(i, TASKS[i]) for i in range(10)]
    replies = {item.index: Reply(item.index, "ok", item.truth) for item in items}
    write_result(tmp_path / "r.json", make_result(items, replies, make_protocol("official"), LABELS))
    records = [
        {"id": 100 + i.index, "dataset": "scannet", "scene_name": i.scene_id, "question_type": i.task,
         "question": i.question, "ground_truth": i.truth, "options": list(i.options) or None} for i in items
    ]  # fmt: skip
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    words = [str(tmp_path / "r.json"), "--questions", str(tmp_path / "test.jsonl"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, *[word for form in EXPORTS for word in ("--export", form)]])
    assert done.exit_code == 0, done.output
    back = read_predictions(tmp_path / "out" / "lmms-eval" / "model" / "verl-vsi_samples_vsibench.jsonl")
    assert [(a.id, a.response, a.options) for a in back] == [(str(100 + i.index), i.truth, i.options) for i in items]
    assert (tmp_path / "out" / "easi" / "model" / "easi_results.zip").exists()


def test_a_question_that_the_benchmarks_file_lacks_is_named(make_item: Any) -> None:
    item = make_item(0, "route_planning")
    result = make_result([item], {0: Reply(0, "ok", "A")}, make_protocol("official"), LABELS)
    record = {"id": 1, "scene_name": "other", "question_type": "route_planning", "question": "q", "ground_truth": "A"}
    with pytest.raises(ValueError, match=r"row 0 \(scene 'scene0'.*none of --questions"):
        answers_of(result, [record])


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'wandb' is unknown; choose one of lmms-eval, vlmevalkit, easi"):
        export("wandb", Answers("m", []), tmp_path)
