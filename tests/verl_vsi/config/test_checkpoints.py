"""Checkpoints know whose they are and whether they are whole, and as many stay as were asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from verl_vsi.config.checkpoints import (
    RECORD,
    RECORD_VARIABLE,
    SIZES,
    TRACKER,
    damage,
    note_step,
    record_of,
    recover_step,
    saved_steps,
    seal,
    step_folder,
    tidy,
)


def make(run: Path, *steps: int) -> None:
    """Sealed checkpoints as verl's trainer writes them, one after the other."""
    for order, step in enumerate(steps):
        folder = step_folder(run, step)
        (folder / "actor").mkdir(parents=True)
        torch.save({"weight": torch.arange(1000)}, folder / "actor" / "model.pt")
        torch.save({}, folder / "data.pt")
        seal(folder)
        os.utime(folder / SIZES, ns=(order, order))


@pytest.mark.parametrize(
    ("steps", "keep", "left"),
    [
        ([20], 1, [20]),
        ([20, 40], 1, [40]),
        ([20, 40, 60], 2, [40, 60]),
        ([20, 40], 5, [20, 40]),
        ([40, 20], 1, [20]),  # started over in a folder: the newest is the one written last
    ],
)
def test_the_newest_stay(tmp_path: Path, steps: list[int], keep: int, left: list[int]) -> None:
    make(tmp_path, *steps)
    tidy(tmp_path, keep)
    assert sorted(saved_steps(tmp_path)) == left
    assert sorted(int(folder.name[12:]) for folder in tmp_path.iterdir()) == left


def test_a_checkpoint_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "global_step_10" / "actor").mkdir(parents=True)
    make(tmp_path, 20, 30)
    tidy(tmp_path, 1)
    assert (tmp_path / "global_step_10" / "actor").is_dir()


@pytest.mark.parametrize("own", ["critic/model.pt", "notes.txt"], ids=["a critic", "a user's file"])
def test_a_folder_that_holds_something_else_stays_with_it(tmp_path: Path, own: str) -> None:
    make(tmp_path, 20, 30)
    (tmp_path / "global_step_20" / own).parent.mkdir(exist_ok=True)
    (tmp_path / "global_step_20" / own).write_text("mine")
    tidy(tmp_path, 1)
    assert (tmp_path / "global_step_20" / own).read_text() == "mine"
    assert not (tmp_path / "global_step_20" / "actor").exists()
    assert saved_steps(tmp_path) == [30]


def test_a_checkpoint_holds_the_record_of_its_own_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, step in enumerate((20, 40)):
        (tmp_path / f"{number}.json").write_text(json.dumps({"start": number}))
        monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / f"{number}.json"))
        make(tmp_path, step)
    assert [record_of(step_folder(tmp_path, step)) for step in (20, 40)] == [{"start": 0}, {"start": 1}]
    assert record_of(tmp_path / "nowhere") is None


def test_a_whole_checkpoint_has_no_damage(tmp_path: Path) -> None:
    make(tmp_path, 20)
    assert damage(step_folder(tmp_path, 20)) is None


def test_a_checkpoint_of_an_earlier_version_is_taken_as_it_is(tmp_path: Path) -> None:
    make(tmp_path, 20)
    (step_folder(tmp_path, 20) / SIZES).unlink()
    (step_folder(tmp_path, 20) / "data.pt").unlink()
    assert damage(step_folder(tmp_path, 20)) is None


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "what"), [(Path.unlink, "is missing"), (cut, "bytes, and"), (flip, "is damaged (checksum of")]
)
def test_damage_names_the_file(tmp_path: Path, harm: object, what: str) -> None:
    make(tmp_path, 20)
    file = step_folder(tmp_path, 20) / "actor" / "model.pt"
    harm(file)  # pyright: ignore[reportCallIssue]
    fault = damage(step_folder(tmp_path, 20))
    assert fault is not None
    assert str(file) in fault
    assert what in fault


def test_notes_of_ours_are_not_among_the_files(tmp_path: Path) -> None:
    make(tmp_path, 20)
    seal(step_folder(tmp_path, 20))
    assert not {RECORD, SIZES} & set(json.loads((step_folder(tmp_path, 20) / SIZES).read_text()))


def checkpoint_of(run: Path, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 4, saved by a start before it logged the step."""
    monkeypatch.setenv(RECORD_VARIABLE, str(run / "provenance" / f"{start}.json"))
    note_step(step_folder(run, 4), 4, {"critic/score/mean": np.float32(0.5), "text": "left out"})
    (run / TRACKER).write_text("4")


@pytest.mark.parametrize(
    ("log", "recovered", "steps"),
    [
        ('{"step": 3, "data": {}}\n', True, [3, 4]),  # killed after the save
        ('{"step": 3, "data": {}}\n{"step": 4, "da', True, [3, 4]),  # killed while it logged
        ("", True, [4]),  # the first step of a start
        ('{"step": 3, "data": {}}\n{"step": 4, "data": {}}\n', False, [3, 4]),  # killed later
    ],
)
def test_what_a_killed_start_measured_of_a_saved_step_is_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str, recovered: bool, steps: list[int]
) -> None:
    checkpoint_of(tmp_path, "1", monkeypatch)
    (tmp_path / "1.jsonl").write_text(log)
    assert recover_step(tmp_path, tmp_path / "1.jsonl") is recovered
    lines = [json.loads(line) for line in (tmp_path / "1.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == steps
    assert lines[-1]["data"] == ({"critic/score/mean": 0.5} if recovered else {})


def test_a_step_goes_into_no_other_starts_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint_of(tmp_path, "1", monkeypatch)
    (tmp_path / "2.jsonl").write_text("")
    assert not recover_step(tmp_path, tmp_path / "2.jsonl")
