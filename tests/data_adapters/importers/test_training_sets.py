"""Other training sets by name, in the form that they are published in: rows, reasons, licences, scenes kept out."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from verl_vsi.commands.data import app
from verl_vsi.data_adapters.importers import import_rows
from verl_vsi.data_adapters.importers.training_sets import TRAINING_SETS
from verl_vsi.data_adapters.leakage import read_scene_names
from verl_vsi.data_adapters.rows import iter_rows
from verl_vsi.data_adapters.schema import Rejected

VIDEO = "scannet/scene0006_00.mp4"


def llava(question: str, answer: str, kind: str, **media: Any) -> dict[str, Any]:
    """A record of VSI-590K."""
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, "question_type": kind, **(media or {"video": VIDEO})}


def spacer(problem: str, solution: str, kind: str) -> dict[str, Any]:
    """A record of SpaceR-151k, as its README shows one."""
    return {"problem_id": 1, "problem": f"Question:\n{problem}", "data_type": "video", "problem_type": [kind],
            "solution": f"<answer>{solution}</answer>", "video_filename": VIDEO}  # fmt: skip


SIZE, DISTANCE = "What is the length of the longest dimension of the bed, measured in centimeters?", "How far are they?"
CASES: list[tuple[str, dict[str, Any], tuple[str, str] | str]] = [
    ("vsi-590k", llava("How many chairs are there?", "4", "absolute_count"), ("object_counting", "4")),
    ("vsi-590k", llava(DISTANCE, "2.5", "absolute_distance_object"), ("object_abs_distance", "2.5")),
    ("vsi-590k", llava("How big is it?", "21.5", "absolute_size_room"), ("room_size_estimation", "21.5")),
    (
        "vsi-590k",
        llava("If I am standing by the tv and facing the bed, is the lamp to my left, right, or back?\n"
              "A. left\nB. right\nC. back", "B", "relative_direction_object"),
        ("object_rel_direction_medium", "B"),
    ),
    ("vsi-590k", llava("More chairs or beds?", "A", "relative_count"), "a task that VSI-Bench does not have"),
    ("vsi-590k", llava("q?", "4", "absolute_count", image="s3dis/a.jpg"), "an image, not a video"),
    ("vsi-590k", {"question": "q?", "answer": "1"}, "not a record of this set"),
    ("spacer-151k", spacer("How many monitor(s) are in this room?", "7", "object_counting"), ("object_counting", "7")),
    ("spacer-151k", spacer("What happens next?", "A", "multiple choice"), "task not recognised"),
    (
        "vsi-train-10k",
        {"question": DISTANCE, "ground_truth": "1.2", "question_type": "absolute_distance", "options": None,
         "dataset": "scannet", "scene_name": "scene0006_00"},
        ("object_abs_distance", "1.2"),
    ),
    (
        "spatialladder-26k",
        {"problem": "Which is closest to the bed? A. tv B. lamp", "solution": "A", "data_type": "relative_distance",
         "image": ["scene0006_00/color/0.jpg", "scene0006_00/color/9.jpg"]},
        ("object_rel_distance", "A"),
    ),
    ("vilasr", {"problem": SIZE, "answer": "190", "problem_type": "object_size", "images": [VIDEO]},
     ("object_size_estimation", "190")),
    ("vilasr", {"problem": "Trace the maze.", "answer": "A", "problem_type": "maze", "images": ["maze/1.png"]},
     "an image, not a video"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record", "expected"), CASES, ids=[f"{n}: {e}" for n, _, e in CASES])
def test_a_record_of_the_published_form_is_a_row_or_has_a_reason(
    tmp_path: Path, name: str, record: dict[str, Any], expected: tuple[str, str] | str
) -> None:
    known = {
        "question": "How many chair(s)?",
        "problem": "How many chair(s)?",
        "answer": "2",
        "scene_id": "scene0006_00",
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(known) + "\n")
    first, *_ = import_rows(tmp_path / "a.jsonl", source=TRAINING_SETS[name])
    if isinstance(expected, str):
        assert isinstance(first, Rejected)
        assert first.reason == expected
    else:
        assert isinstance(first, dict), first
        assert (first["extra_info"]["task"], first["reward_model"]["ground_truth"]) == expected


def test_the_command_says_the_licence_and_leaves_out_both_benchmarks_scenes(tmp_path: Path) -> None:
    scenes = ("scene0006_00", "scene0025_01", "scene0007_00")  # the second is VSI-Bench's, the third ReVSI's here
    records = [llava("How many chairs?", "4", "absolute_count", video=f"scannet/{scene}.mp4") for scene in scenes]
    (tmp_path / "vsi_590k.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (tmp_path / "3d_annotation.json").write_text(json.dumps({"scene0007_00": {}}))
    words = [
        "import",
        str(tmp_path / "rows.parquet"),
        "--file",
        str(tmp_path / "vsi_590k.jsonl"),
        "--format",
        "vsi-590k",
    ]
    done = CliRunner().invoke(app, [*words, "--keep-out", str(tmp_path / "3d_annotation.json")])
    assert done.exit_code == 0, done.output
    assert "licence: Apache-2.0" in done.output
    assert [row["extra_info"]["scene_id"] for row in iter_rows(tmp_path / "rows.parquet")] == ["scene0006_00"]
    left_out = [json.loads(line) for line in (tmp_path / "rows.rejected.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in left_out] == ["scene of VSI-Bench", "scene that is kept out"]
    assert all("row" in line["where"] for line in left_out)


def test_scene_names_come_from_records_and_lines_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"scene_id": "x"}, {"scene_id": "y"}]))
    (tmp_path / "a.txt").write_text("x\ny\n")
    assert read_scene_names(tmp_path / "a.json") == read_scene_names(tmp_path / "a.txt") == {"x", "y"}


@pytest.mark.parametrize(
    "write", [lambda p: np.save(p.open("wb"), np.array([{}])), lambda p: p.write_bytes(pickle.dumps([]))]
)
def test_pickled_arrays_are_refused_unread(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "categories.npy")
    with pytest.raises(ValueError, match="may run code when it is read; it is not opened"):
        list(import_rows(tmp_path / "categories.npy", source=TRAINING_SETS["vsi-590k"]))
