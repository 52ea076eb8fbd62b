"""Rendered rooms from rows to tables: what frames support, and how a model answers where the asked objects are gone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from verl_vsi.commands.data import app
from verl_vsi.data_adapters.rows import iter_rows
from verl_vsi.data_adapters.synthetic_rooms import render_split
from verl_vsi.data_adapters.synthetic_rooms.splits import scenes_file
from verl_vsi.evaluation.ask.endpoint import Endpoint
from verl_vsi.evaluation.ask.evaluation import Evaluation, condition_jobs
from verl_vsi.evaluation.ask.run import evaluate
from verl_vsi.evaluation.conditions import under, without_objects
from verl_vsi.evaluation.items import read_set
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.report.looking import looking_tables
from verl_vsi.evaluation.score.result import Result, read_result, write_result
from verl_vsi.evaluation.task_columns import PRESENT

ROOMS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rooms and their rows: with the scene's answers, and with those that two frames support."""
    folder = tmp_path_factory.mktemp("root")
    render_split(folder, "val", ROOMS, seed=4, workers=1, quiet=True)
    build(folder / "rows.parquet", folder)
    return folder


def build(out: Path, root: Path, *words: str) -> str:
    source = ["--scenes", str(scenes_file(root, "val")), "--rules", "vsibench", "--per-scene", "6"]
    done = CliRunner().invoke(app, ["build", str(out), *source, *words])
    assert done.exit_code == 0, done.output
    return done.output


def evaluation(root: Path) -> Evaluation:
    frames = {"nframes": 4, "min_pixels": 56 * 56, "max_pixels": 56 * 56}
    protocol = replace(make_protocol("official", frames=frames))
    return Evaluation(read_set(root / "rows.parquet"), protocol, PRESENT, root, root / "frames", "some/model")


def test_rows_say_what_frames_show_and_the_audit_counts_it(root: Path) -> None:
    output = build(root / "own.parquet", root, "--frame-aware", "1", "--unseen", "keep")
    told = [json.loads(row["extra_info"]["trace"])["frames"] for row in iter_rows(root / "own.parquet")]
    assert all(list(frames) == [*[f"linspace-n{n}" for n in (8, 16, 32, 64)], "linspace-n1"] for frames in told)
    assert all(frames["linspace-n64"]["supported"] for frames in told)  # all four frames of a room
    share = sum(not frames["linspace-n1"]["supported"] for frames in told) / len(told)
    assert 0 < share < 1
    done = CliRunner().invoke(app, ["audit", str(root / "own.parquet")], env={"COLUMNS": "200"})
    assert "not supported by the frames, %" in done.output
    assert "linspace-n1" in done.output
    assert "rows" in output


def test_frame_aware_rows_are_all_supported_and_count_what_is_seen(root: Path) -> None:
    build(root / "aware.parquet", root, "--frame-aware", "1")
    rows = list(iter_rows(root / "aware.parquet"))
    frames = [json.loads(row["extra_info"]["trace"])["frames"]["linspace-n1"] for row in rows]
    counts = [(f, r) for f, r in zip(frames, rows, strict=True) if r["extra_info"]["task"] == "object_counting"]
    assert all(str(sum(f["seen"].values())) == r["reward_model"]["ground_truth"] for f, r in counts)
    assert any(not f["supported"] for f, _ in counts)  # and yet the answer is true of the frame
    assert all(
        f["supported"] for f, r in zip(frames, rows, strict=True) if r["extra_info"]["task"] != "object_counting"
    )
    assert "not seen in the frames" in (root / "aware.rejected.jsonl").read_text()


def answer(completion: Callable[..., str]) -> Callable[..., Any]:
    """2 to numbers, A else, whatever is shown."""
    is_choice = lambda request: "Options:" in request["messages"][0]["content"][-1]["text"]  # noqa: E731
    return lambda request, before: (200, {}, completion("A" if is_choice(request) else "2"))


@pytest.fixture(scope="module")
def conditions() -> list[str]:
    return ["normal", "first-frame", "black", "blind", "removed"]


def results(root: Path, conditions: list[str], base_url: str) -> list[Result]:
    endpoint = replace(Endpoint(base_url, "m", first_wait=0.01))
    jobs = condition_jobs(evaluation(root), conditions, root / "out")
    return [evaluate(job, endpoint, Console(file=io.StringIO())) for job in jobs]


def test_one_table_has_each_condition_beside_chance_and_the_most_frequent_answer(
    root: Path, conditions: list[str], start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    by_condition = results(root, conditions, start_endpoint(answer(completion)).base_url)
    assert read_result(root / "out" / "normal.json").answers[0].supported is None  # four frames: rows speak of 8 to 64
    titles = looking_tables(by_condition)
    rows = {row.name: row for row in titles["Does it look? Scores and their gaps to answers without looking, %"]}
    assert len(rows) == 15
    normal, chance = rows["model"], rows["model, above chance"]
    assert normal.overall.mean is not None
    assert chance.overall.mean == pytest.approx(
        normal.overall.mean - 100 * by_condition[0].baselines["chance"].overall.mean
    )
    removed = by_condition[-1]
    assert {a.truth for a in removed.answers if a.task == "object_counting"} == {"0"}
    assert any(note.startswith("says 0 to 0.0 %") for note in rows["model, removed"].notes)
    assert not any(a.task == "room_size_estimation" for a in removed.answers)
    assert all((root / str(a.video)).is_file() and "without" in str(a.video) for a in removed.answers)


def test_supported_and_unsupported_questions_are_scored_apart(root: Path, tmp_path: Path) -> None:
    result = read_result(root / "out" / "normal.json")
    answers = [replace(a, supported=i % 3 > 0) for i, a in enumerate(result.answers)]
    write_result(tmp_path / "r.json", replace(result, answers=answers))
    tables = looking_tables([read_result(tmp_path / "r.json")])
    rows = tables["Questions that the frames support, and others, tasks present, %"]
    assert [row.name for row in rows] == ["model, supported", "model, not supported"]
    assert rows[1].notes == (f"{len(answers[::3])} of {len(answers)} questions",)


def test_frames_that_show_an_asked_object_are_dropped_from_other_videos(make_item: Any) -> None:
    item = make_item(0, "object_counting", objects=("chair",), places={"linspace-n8": (2, 3)})
    gone = without_objects(item, "linspace-n8")
    assert gone is not None
    assert (gone.truth, gone.hidden, gone.video) == ("0", (2, 3), item.video)
    assert without_objects(item, "linspace-n16") is None  # the row does not say which frames
    assert under([item, make_item(1, "room_size_estimation")], "removed", choice="linspace-n8") == (gone,)


def test_a_set_that_says_nothing_of_frames_has_no_removed_condition(root: Path) -> None:
    mute = evaluation(root)
    items = tuple(replace(item, objects=()) for item in mute.questions.items)
    mute = replace(mute, questions=replace(mute.questions, items=items))
    with pytest.raises(ValueError, match="no row says what it asks for"):
        condition_jobs(mute, ["normal", "removed"], root / "out")
