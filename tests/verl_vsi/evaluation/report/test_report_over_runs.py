"""Reports of several runs of one entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from verl_vsi.commands.report import app
from verl_vsi.evaluation.report.contents import Contents, tables
from verl_vsi.evaluation.report.figures import draw_curves
from verl_vsi.evaluation.report.report_files import write_report
from verl_vsi.evaluation.report.tables import difference_row, spread_cell
from verl_vsi.evaluation.report.training_logs import Series, TrainingLog, mean_series
from verl_vsi.evaluation.score.result import write_result
from verl_vsi.evaluation.score.seeds import Spread, by_entry, difference

COUNT = "object_counting"
Make = Callable[..., Any]


def test_a_cell_shows_the_error_and_keeps_the_interval() -> None:
    cell = spread_cell(Spread((0.034,), (0.01,)), signed=True)
    assert cell.text() == "+3.4 ± 1.0"
    assert (cell.low, cell.high) == (pytest.approx(3.4 - 1.96), pytest.approx(3.4 + 1.96))


def test_the_row_of_a_difference_names_each_run(make_result: Make) -> None:
    base, trained = (
        [make_result({COUNT: responses}, name=name) for responses in answers]
        for name, answers in (("base", [["9", "9"]] * 2), ("vsgrpo", [["4", "9"], ["4", "4"]]))
    )
    row = difference_row(difference("vsgrpo − base", trained, base), "score")
    assert row.tasks[COUNT].mean == pytest.approx(75)
    assert "by run +6.2, +12.5" in row.notes[0]
    assert "standard errors" in row.notes[0]


@pytest.fixture
def seeds(make_result: Make, tmp_path: Path) -> list[Path]:
    """Three folders, as `verl-vsi miniature --seed N --folder` leaves them."""
    folders = []
    for seed, (base, trained) in enumerate([("9", "4"), ("9", "4"), ("4", "4")]):
        folders.append(tmp_path / f"story_s{seed}")
        for name, answer, condition in [
            ("base", base, "normal"),
            ("vsgrpo", trained, "normal"),
            ("vsgrpo", "9", "shuffled"),
        ]:
            out = folders[-1] / "eval" / name / f"{condition}.json"
            out.parent.mkdir(parents=True, exist_ok=True)
            write_result(out, make_result({COUNT: [answer, "4"]}, name=name, condition=condition))
            out.with_suffix(".journal.jsonl").touch()
        (folders[-1] / "report.json").write_text("{}")  # no result of ours
        log = folders[-1] / "vsgrpo" / "metrics" / "1.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text("".join(json.dumps({"step": s, "data": {"actor/kl_loss": s * seed}}) + "\n" for s in range(40)))
    return folders


def test_folders_of_three_seeds_become_one_report(seeds: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = CliRunner().invoke(app, [*map(str, seeds), "--against", "base", "--out", str(out)])
    assert result.exit_code == 0, result.output
    text = (out / "report.md").read_text()
    assert "| base, 3 runs |" in text
    assert "| vsgrpo, 2 of 3 |" in text
    assert "- vsgrpo − base: average" in text
    numbers = json.loads((out / "runs.json").read_text())
    assert numbers["means"]["base"]["score"]["tasks"][COUNT]["runs"] == [0.5, 0.5, 1.0]
    assert numbers["differences"]["vsgrpo − base"]["score"]["tasks"][COUNT]["mean"] == pytest.approx(1 / 3)
    assert numbers["differences"]["vsgrpo, right − wrong videos"]["reward"]["overall"]["of_questions"] > 0
    for picture in ("tasks", "differences", "curves"):
        assert (out / f"{picture}.png").stat().st_size > 5000


def test_a_folder_without_anything_to_report_says_what_is_looked_for(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 2
    assert "metrics/*.jsonl" in result.output


def test_results_of_different_names_get_no_means(make_result: Make) -> None:
    results = [make_result(name="a"), make_result(name="b")]
    assert [title.split(",")[0] for title in tables(Contents(results))] == ["Results"]
    assert list(by_entry(results)) == ["a", "b"]


def test_a_report_of_single_runs_writes_no_numbers_over_runs(make_result: Make, tmp_path: Path) -> None:
    assert "runs.json" not in {p.name for p in write_report(tmp_path, Contents([make_result(name="a")]))}


def test_a_mean_curve_takes_the_steps_that_all_runs_have() -> None:
    long = Series(np.asarray([1.0, 2, 3]), np.asarray([0.0, 2, 9]))
    short = Series(np.asarray([1.0, 2]), np.asarray([2.0, 4]))
    mean = mean_series([long, short])
    assert (mean.steps.tolist(), mean.values.tolist()) == ([1, 2], [1, 3])


def test_runs_of_one_name_share_a_colour(tmp_path: Path) -> None:
    runs = [TrainingLog("sft", {s: {"actor/kl_loss": k * s} for s in range(40)}) for k in (1.0, 2.0, 3.0)]
    draw_curves([*runs, TrainingLog("other", runs[0].log)], tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).reshape(-1, 3)
    shown = [
        (pixels == colour).all(axis=1).sum() > 50 for colour in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0), (0, 0x9E, 0x73))
    ]
    assert shown == [True, True, False]
