"""lmms-eval's result and sample files (as its tracker of 0.7.3 writes them), and EASI's submission over them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.files import atomic_path, write_text
from verl_vsi.evaluation.report.exports.answers import Answers, average, number_of
from verl_vsi.evaluation.score.predictions import Prediction, score_predictions
from verl_vsi.evaluation.task_columns import DIRECTION

METRICS = {
    schema.COUNTING: "object_counting_mra",
    schema.ABS_DISTANCE: "object_abs_distance_mra",
    schema.OBJECT_SIZE: "object_size_estimation_mra",
    schema.ROOM_SIZE: "room_size_estimation_mra",
    schema.REL_DISTANCE: "object_rel_distance_accuracy",
    DIRECTION: "object_rel_direction_accuracy",
    schema.ROUTE: "route_planning_accuracy",
    schema.APPEARANCE: "obj_appearance_order_accuracy",
}
"""Column of the benchmark's table -> lmms-eval's metric."""
EASI_SUBMITS = ("modelName as org/model", "modelType (pretrained, finetuned, instruction or rl)", "precision")
"""What EASI's form asks for beside the scores; no result knows it, so its fields are left for the user."""


def write_lmms_eval(answers: Answers, out: Path, multi_image: bool = False) -> list[Path]:
    """Write ``<model>/verl-vsi_results.json`` and ``verl-vsi_samples_<task>.jsonl``.

    Args:
        answers: what to write.
        out: the folder.
        multi_image: name the task that shows frames as images, which EASI runs.
    """
    task = ("vsibench" if answers.subset == "full" else "vsibench_debiased") + ("_multiimage" if multi_image else "")
    values = score_predictions(answers.predictions, "lmms_eval")
    metrics = {f"{key},none": round(mean, 6) for key, mean in _by_metric(answers, values).items()}
    count = len(answers.predictions)
    record = {
        "results": {task: {"alias": task, **metrics}},
        "configs": {task: {"task": task, "metadata": {"remarks": answers.remarks}}},
        "n-samples": {task: {"original": count, "effective": count}},
        "model_name": answers.name,
    }
    folder = out / answers.file_name
    paths = [folder / "verl-vsi_results.json", folder / f"verl-vsi_samples_{task}.jsonl"]
    samples = (_sample(i, *pair) for i, pair in enumerate(zip(answers.predictions, values, strict=True)))
    write_text(paths[0], json.dumps(record, indent=2, ensure_ascii=False))
    write_text(paths[1], "".join(json.dumps(sample) + "\n" for sample in samples))
    return paths


def _by_metric(answers: Answers, values: Sequence[float]) -> dict[str, float]:
    """lmms-eval's metric -> its mean, 0 to 1."""
    averages = average(answers, values)
    means = {METRICS[column]: estimate.mean for column, estimate in averages.tasks.items()}
    return {"vsibench_overall": averages.overall.mean, **means}


def _sample(number: int, one: Prediction, value: float) -> dict[str, Any]:
    """A line of lmms-eval's samples; the answer stands in the doc of each metric, as its own code leaves it there."""
    doc = {"id": number_of(one.id), "scene_name": one.scene, "question_type": one.task, "question": one.question,
           "ground_truth": one.truth, "options": list(one.options) or None}  # fmt: skip
    metric = "MRA:.5:.95:.05" if one.kind == "number" else "accuracy"
    return {
        "doc_id": number,
        "doc": doc,
        "target": one.truth,
        "resps": [[one.response]],
        "filtered_resps": [one.response],
        "vsibench_overall": {**doc, "prediction": one.response, metric: value},
    }


def write_easi(answers: Answers, out: Path) -> list[Path]:
    """Write ``easi_results.json`` and ``easi_results.zip``, and the files that the latter holds.

    Args:
        answers: what to write.
        out: the folder.
    """
    values = score_predictions(answers.predictions, "lmms_eval")
    percent = {key: round(round(mean, 6) * 100, 4) for key, mean in _by_metric(answers, values).items()}
    benchmark = "vsi_bench" if answers.subset == "full" else "vsi_debiased"
    payload = {
        "modelName": answers.name,
        "modelType": "",
        "precision": "",
        "revision": "main",
        "weightType": "",
        "baseModel": "",
        "backend": "lmmseval",
        "remarks": answers.remarks,
        "scores": {benchmark: percent.pop("vsibench_overall")},
        "subScores": {benchmark: {key.removesuffix("_mra"): value for key, value in sorted(percent.items())}},
    }
    files = write_lmms_eval(answers, out, multi_image=True)
    write_text(out / "easi_results.json", json.dumps(payload, indent=2, ensure_ascii=False))
    with (
        atomic_path(out / "easi_results.zip") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for file in files:
            archive.write(file, f"{answers.file_name}/{file.name}")
    return [out / "easi_results.json", out / "easi_results.zip", *files]
