"""`verl-vsi data` as a user types it: rooms to rows, imports, the benchmark, checks, audits, and kills on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from verl_vsi.commands.data import app
from verl_vsi.data_adapters.mp4 import encode_mp4
from verl_vsi.data_adapters.rows import read_fingerprint, read_rows
from verl_vsi.data_adapters.synthetic_rooms import render_split
from verl_vsi.lifetime.leftovers import is_alive

COUNT = {"scene": "scene0191_00", "question": "How many trash can(s)in the room?", "answer": "3"}


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "VSI_ROOT": ""})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with six rendered rooms."""
    root = tmp_path_factory.mktemp("root")
    result = _run("rooms", root, "--split", "val", "--count", 6, "--seed", 5, "--workers", 1)
    assert "6 rooms; next: verl-vsi data build" in result.output
    return root


def _rows(root: Path, out: Path) -> Path:
    result = _run("build", out, "--scenes", root / "rooms" / "val.scenes.jsonl", "--per-scene", "3")
    assert result.exit_code == 0, result.output
    return out


def test_a_file_that_is_there_is_replaced_and_it_is_said(root: Path, tmp_path: Path) -> None:
    out = _rows(root, tmp_path / "val.parquet")
    again = _run("build", out, "--scenes", root / "rooms" / "val.scenes.jsonl")
    assert f"{out} is there, and is replaced" in again.output


@pytest.mark.parametrize("name", ["build", "import", "bench"])
def test_rows_are_not_written_under_another_formats_name(name: str, tmp_path: Path) -> None:
    more = {"build": [], "import": ["--file", "x.json"], "bench": ["--questions", "x.jsonl"]}[name]
    result = _run(name, tmp_path / "rows.csv", *more)
    assert result.exit_code == 2
    assert "rows are written as parquet; name the file rows.parquet" in result.output


@pytest.mark.parametrize("name", ["build", "rooms", "import", "bench", "videos", "check", "audit"])
def test_every_command_shows_an_example(name: str):
    result = _run(name, "--help")
    assert result.exit_code == 0
    assert f"Example: verl-vsi data {name}" in " ".join(result.output.split())


def test_rooms_become_rows_whose_videos_are_there(root: Path, tmp_path: Path):
    out = _rows(root, tmp_path / "val.parquet")
    rows = read_rows(out)
    assert max(sum(r["data_source"] == s for r in rows) for s in {r["data_source"] for r in rows}) <= 18
    assert read_fingerprint(out)["quotas"]["per_scene"]["object_counting"] == 3
    result = _run("check", out, "--root", root)
    assert (result.exit_code, result.output.strip()) == (0, "nothing is missing")


def test_a_missing_and_an_empty_video_are_listed_with_their_source(root: Path, tmp_path: Path):
    out = _rows(root, tmp_path / "val.parquet")
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "room_5_000000.mp4").touch()
    result = _run("check", out, "--root", tmp_path)
    assert result.exit_code == 1
    assert "rooms/room_5_000000.mp4 (empty)" in result.output
    assert "verl-vsi data rooms" in result.output
    assert "6 missing, of 6 scenes" in result.output


def test_the_check_names_the_official_files_of_scans_and_the_benchmark(tmp_path: Path):
    questions = tmp_path / "test.jsonl"
    record = {"id": 0, "dataset": "scannet", "scene_name": "scene0025_01", "question_type": "room_size_estimation"}
    questions.write_text(json.dumps(record | {"question": "?", "ground_truth": "12.5", "options": None}))
    assert _run("bench", tmp_path / "b.parquet", "--questions", questions).exit_code == 0
    result = _run("check", tmp_path / "b.parquet", "--root", tmp_path, "--scannet", tmp_path, "--scans", "val")
    assert "nyu-visionx/VSI-Bench, scannet.zip" in result.output
    assert "scene0011_00_vh_clean_2.ply" in result.output
    assert "download-scannet.py --id scene0011_00" in result.output
    assert "314 missing, of 313 scenes" in result.output  # one lacks its video too, and the label map is for all
    assert "scene0011_00.sens" in result.output
    assert "scannetv2-labels.combined.tsv" in result.output


def test_the_benchmark_s_rows_and_zips_come_in_one_command(tmp_path: Path):
    record = {"id": 0, "dataset": "scannet", "scene_name": "scene0025_01", "question_type": "room_size_estimation"}
    questions = tmp_path / "test.jsonl"
    questions.write_text(json.dumps(record | {"question": "?", "ground_truth": "12.5", "options": None}))
    with zipfile.ZipFile(tmp_path / "scannet.zip", "w") as file:
        file.writestr("scannet/scene0025_01.mp4", encode_mp4(np.zeros((4, 32, 32, 3), np.uint8)))
    arguments = ("bench", tmp_path / "b.parquet", "--questions", questions, "--zip", tmp_path / "scannet.zip")
    assert "--zip needs --root" in _run(*arguments).output
    assert "1 videos unpacked" in _run(*arguments, "--root", tmp_path / "root").output
    assert _run("check", tmp_path / "b.parquet", "--root", tmp_path / "root").exit_code == 0


def test_an_import_sums_up_what_it_left_out(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps([COUNT, COUNT | {"scene": "scene0025_01"}, COUNT | {"answer": "many"}]))
    result = _run("import", tmp_path / "out.parquet", "--file", tmp_path / "a.json")
    assert result.exit_code == 0
    assert "1 rows" in result.output
    assert "left out: 1 x scene of VSI-Bench" in result.output
    assert "left out: 1 x is not a number" in result.output
    assert "out.rejected.jsonl" in result.output
    published = _run("import", tmp_path / "out.parquet", "--file", tmp_path / "a.json", "--published")
    assert "2 rows (published: the benchmark's scenes are in)" in published.output
    audit = _run("audit", tmp_path / "out.parquet")
    assert "overlap with VSI-Bench: 1 of its scenes" in audit.output
    assert "the file says so itself (published)" in audit.output


def test_an_audit_of_clean_rows_says_so(root: Path, tmp_path: Path):
    result = _run("audit", _rows(root, tmp_path / "val.parquet"))
    assert result.exit_code == 0
    assert "overlap with VSI-Bench: none; ScanNet val scans: none" in result.output
    assert "duplicates: none" in result.output
    assert "object_rel_direction_easy" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "o.parquet"), "give one source of scenes"),
        (("build", "o.parquet", "--scenes", "a", "--meta-info", "b"), "give one source of scenes"),
        (("build", "o.parquet", "--scenes", "none.jsonl"), "none.jsonl: no such file"),
        (("build", "o.parquet", "--scannet", "none"), "no folder like scene0000_00"),
        (("build", "o.parquet", "--scenes", "a", "--rules", "papers"), "there is no rule set 'papers'"),
        (("build", "o.parquet", "--scenes", "a", "--total", "counting=3"), "--total counting=3: expected TASK=N"),
        (("import", "o.parquet", "--file", "none.json"), "none.json: no such file"),
        (("import", "o.parquet", "--file", "none.json", "--map", "x=y"), "write FIELD=COLUMN"),
        (("bench", "o.parquet", "--questions", "none.jsonl"), "download test.jsonl"),
        (("check",), "give files of rows and --root"),
        (("audit", "none.parquet"), "none.parquet: no such file; make it with"),
    ],
)
def test_a_wrong_call_says_what_to_do_and_writes_nothing(tmp_path: Path, monkeypatch, arguments, message: str):
    monkeypatch.chdir(tmp_path)
    result = _run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> list[int]:
    return [int(p) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for p in tasks.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for child processes in /proc")
def test_a_killed_rendering_goes_on_to_the_same_files(tmp_path: Path):
    command = [sys.executable, "-m", "verl_vsi.cli", "data", "rooms", str(tmp_path / "cut"), "--split", "train"]
    process = subprocess.Popen([*command, "--count", "60", "--seed", "9"], stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(tmp_path.glob("cut/rooms/*.mp4"))) < 8:
        time.sleep(0.02)
    workers = _children(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))  # none waits for work for ever
    assert not (tmp_path / "cut" / "rooms" / "train.scenes.jsonl").exists()
    for folder in ("cut", "whole"):
        render_split(tmp_path / folder, "train", 60, 9, workers=1, quiet=True)
    contents = [
        {p.name: p.read_bytes() for p in (tmp_path / folder / "rooms").iterdir() if not p.name.startswith(".")}
        for folder in ("cut", "whole")
    ]
    assert len(contents[0]) == 61
    assert contents[0] == contents[1]


def test_an_interrupted_scan_build_keeps_what_was_read(tmp_path: Path, monkeypatch):
    from verl_vsi.data_adapters.scannet.scan_files import FILES
    from verl_vsi.data_adapters.schema import Scene
    from verl_vsi.data_adapters.synthetic_rooms import make_room

    names = [f"scene0191_0{i}" for i in range(3)]
    for name in names:
        (tmp_path / "scans" / name).mkdir(parents=True)
        for end in FILES:
            (tmp_path / "scans" / name / f"{name}{end}").write_text("x")
    (tmp_path / "scannetv2-labels.combined.tsv").write_text("raw_category\tcategory\n")
    read: list[str] = []

    def read_scan(folder: Path, labels: object) -> Scene:
        read.append(folder.name)
        if read == names:
            raise KeyboardInterrupt
        room = make_room(0, int(folder.name[-1])).scene
        return Scene(folder.name, "scannet", f"scannet/{folder.name}.mp4", 20.0, room.boxes, room.counts)

    monkeypatch.setattr("verl_vsi.data_adapters.scannet.scans.read_scan", read_scan)
    arguments = ("build", tmp_path / "rows.parquet", "--scannet", tmp_path, "--workers", 1)
    assert _run(*arguments).exit_code == 130
    assert not (tmp_path / "rows.parquet").exists()
    assert _run(*arguments).exit_code == 0
    assert read[3:] == names[2:]  # the first two were kept
    assert {r["extra_info"]["scene_id"] for r in read_rows(tmp_path / "rows.parquet")} == set(names)
