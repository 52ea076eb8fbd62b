"""ReVSI's questions as rows, asked with its prompts, averaged as its own evaluators do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from verl_vsi.commands.data import app
from verl_vsi.data_adapters.revsi import TYPES, revsi_rows
from verl_vsi.data_adapters.schema import NUMERIC, Rejected
from verl_vsi.evaluation.items import item_of, read_set
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.score.scores import summarise
from verl_vsi.evaluation.task_columns import REVSI, declared_by


def records(each: int = 3) -> list[dict[str, Any]]:
    rows = []
    for number, task in enumerate([task for task in TYPES for _ in range(each)]):
        numeric = TYPES[task] in NUMERIC
        rows.append({"id": number, "dataset": "scannet", "scene_id": f"scene0011_0{number % 2}", "question_type": task,
                     "question": f"question {number}?", "options": None if numeric else ["A. left", "B. right"],
                     "ground_truth": "2" if numeric else "A", "num_frames": 32})  # fmt: skip
    return rows


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return folder / "test-00000-of-00001.parquet"


def test_the_command_makes_rows_with_the_budgets_videos(tmp_path: Path) -> None:
    file = write(tmp_path / "32_frame", records())
    out = tmp_path / "rows.parquet"
    done = CliRunner().invoke(app, ["bench", str(out), "--questions", str(file), "--benchmark", "revsi"])
    assert done.exit_code == 0, done.output
    items = read_set(out).items
    assert len(items) == 39
    assert items[0].video == "revsi/32_frame/scene0011_00.mp4"
    assert declared_by(item.data_source for item in items) is REVSI


def test_questions_are_asked_as_revsi_asks(tmp_path: Path) -> None:
    rows = [row for row in revsi_rows(write(tmp_path / "16_frame", records(1))) if isinstance(row, dict)]
    protocol = make_protocol("revsi", frames={"nframes": 16})
    number, choice = item_of(0, rows[0]), item_of(1, rows[-1])
    assert protocol.text(number) == (
        "These are frames of a video.\nquestion 0?\nAnswer the question using a single integer or decimal number."
    )
    assert protocol.text(choice) == (
        "These are frames of a video.\nquestion 12?\nOptions:\nA. left\nB. right\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_types_weigh_alike_within_a_task_and_tasks_in_the_average() -> None:
    """Counting: 1.0 of 9 single and 0.0 of 1 multiple is 0.5; three types of their own and four groups make seven."""
    tasks = ["object_counting_single"] * 9 + ["object_counting_multiple"]
    values = [1.0] * 9 + [0.0]
    others = [task for task in TYPES if not task.startswith("object_counting")]
    scores = summarise([*tasks, *others], [*values, *[1.0] * len(others)], REVSI)
    assert scores.tasks["object_counting"].mean == 0.5
    assert len(scores.tasks) == 7
    assert scores.overall.mean == pytest.approx((6 + 0.5) / 7)
    missed = [float(task != "object_rel_direction_forward_easy") for task in TYPES]
    assert summarise(list(TYPES), missed, REVSI).overall.mean == pytest.approx((6 + 0.75) / 7)


def test_a_file_out_of_its_folder_or_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="answers depend on the frames; keep it in 16_frame"):
        list(revsi_rows(write(tmp_path / "elsewhere", records())))
    with pytest.raises(ValueError, match="column 'scene_id' is missing"):
        list(revsi_rows(write(tmp_path / "32_frame", [{"id": 1, "dataset": "scannet"}])))
    odd = {**records(1)[0], "question_type": "object_counting_easy"}
    [row] = revsi_rows(write(tmp_path / "64_frame", [odd]))
    assert isinstance(row, Rejected)
    assert row.reason == "unknown task"
