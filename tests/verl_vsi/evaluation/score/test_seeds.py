"""Several runs of one thing: hand-computed means, standard errors and differences."""

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
from verl_vsi.evaluation.report.files import write_report
from verl_vsi.evaluation.report.training_logs import Run, Series, mean_series
from verl_vsi.evaluation.score.result import write_result
from verl_vsi.evaluation.score.seeds import Spread, by_name, difference, differences

COUNT = "object_counting"
Make = Callable[..., Any]


def make_seeds(make_result: Make, name: str, *answers: list[str], **labels: Any) -> list[Any]:
    """A run a list of answers to counting (truth 4), every other task answered rightly."""
    return [make_result({COUNT: given}, name=name, **labels) for given in answers]


def test_an_error_holds_what_runs_and_what_questions_bring() -> None:
    spread = Spread((0.1, 0.2, 0.3), (0.03, 0.04, 0.05))
    assert spread.mean == pytest.approx(0.2)
    assert spread.of_runs == pytest.approx(0.1 / 3**0.5)
    assert spread.of_questions == pytest.approx(((9 + 16 + 25) / 3) ** 0.5 / 100)
    assert spread.error == pytest.approx((spread.of_runs**2 + spread.of_questions**2) ** 0.5)


def test_one_run_has_the_error_of_its_questions() -> None:
    assert Spread((0.5,), (0.02,)).error == pytest.approx(0.02)


def test_a_cell_shows_the_error_and_keeps_the_interval() -> None:
    cell = Spread((0.034,), (0.01,)).cell(signed=True)
    assert cell.text() == "+3.4 ± 1.0"
    assert (cell.low, cell.high) == (pytest.approx(3.4 - 1.96), pytest.approx(3.4 + 1.96))


def test_a_difference_pairs_runs_in_order_and_tells_each(make_result: Make) -> None:
    base = make_seeds(make_result, "base", ["9", "9"], ["9", "9"])
    trained = make_seeds(make_result, "vsgrpo", ["4", "9"], ["4", "4"])
    found = difference("vsgrpo − base", trained, base)
    assert found.measures["score"].tasks[COUNT].values == (0.5, 1.0)
    assert found.measures["score"].overall.values == (pytest.approx(0.5 / 8), pytest.approx(1 / 8))
    row = found.row("score")
    assert row.tasks[COUNT].mean == pytest.approx(75)
    assert "by run +6.2, +12.5" in row.notes[0]
    assert "standard errors" in row.notes[0]


def test_one_run_stands_against_all(make_result: Make) -> None:
    base = make_seeds(make_result, "base", ["9", "9"])
    trained = make_seeds(make_result, "sft", ["4", "9"], ["4", "4"], ["9", "9"])
    assert difference("", trained, base).measures["score"].tasks[COUNT].values == (0.5, 1.0, 0.0)


def test_runs_are_paired_by_what_they_were_asked(make_result: Make) -> None:
    """Seeds may draw their own questions; a run without a counterpart is left out."""
    few, many = make_seeds(make_result, "a", ["4"], only=[COUNT], tasks="present"), make_seeds(make_result, "a", ["4"])
    other = make_seeds(make_result, "b", ["9", "9"]) + make_seeds(
        make_result, "b", ["9", "9"], only=[COUNT], tasks="present"
    )
    found = difference("", few + many, other).measures["score"].tasks[COUNT]
    assert found.values == (1.0, 1.0)
    assert len(difference("", few + many, other[:1] * 2).measures["score"].overall.values) == 1
    with pytest.raises(ValueError, match="asked the same questions"):
        difference("x", few, many)


def test_everything_is_told_from_what_was_named_and_right_from_wrong_videos(make_result: Make) -> None:
    results = [
        *make_seeds(make_result, "base", ["9", "9"]),
        *make_seeds(make_result, "sft", ["4", "9"]),
        *make_seeds(make_result, "vsgrpo", ["4", "4"]),
        *make_seeds(make_result, "vsgrpo", ["9", "4"], condition="shuffled"),
    ]
    found = {d.name: d.measures["score"].tasks[COUNT].mean for d in differences(results, ["base", "sft"])}
    assert found == {
        "sft − base": 0.5,
        "vsgrpo − base": 1.0,
        "vsgrpo − sft": 0.5,
        "vsgrpo, right − wrong videos": 0.5,
    }
    with pytest.raises(ValueError, match="the results are base, sft"):
        differences(results, ["bse"])


def test_right_and_wrong_videos_are_compared_within_a_model(make_result: Make) -> None:
    """Each seed scores its better model on wrong videos; another seed's model is no counterpart."""
    results = [
        *make_seeds(make_result, "sft", ["4", "4"], model="s0/sft"),
        *make_seeds(make_result, "sft", ["9", "9"], model="s1/sft"),
        *make_seeds(make_result, "sft", ["9", "9"], model="s1/sft", condition="shuffled"),
    ]
    (found,) = differences(results, [])
    assert found.measures["score"].tasks[COUNT].values == (0.0,)


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
    done = CliRunner().invoke(app, [*map(str, seeds), "--against", "base", "--out", str(out)])
    assert done.exit_code == 0, done.output
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
    done = CliRunner().invoke(app, [str(tmp_path)])
    assert done.exit_code == 1
    assert "metrics/*.jsonl" in done.output


def test_results_of_different_names_get_no_means(make_result: Make) -> None:
    results = [make_result(name="a"), make_result(name="b")]
    assert [title.split(",")[0] for title in tables(Contents(results))] == ["Results"]
    assert list(by_name(results)) == ["a", "b"]


def test_one_name_scored_in_two_ways_is_not_averaged(make_result: Make) -> None:
    results = [make_result(name="a", preset=preset) for preset in ("official", "official", "harness")]
    assert {name: len(group) for name, group in by_name(results).items()} == {
        "a, preset official, extraction official": 2,
        "a, preset harness, extraction lmms_eval": 1,
    }


def test_a_report_of_single_runs_writes_no_numbers_over_runs(make_result: Make, tmp_path: Path) -> None:
    assert "runs.json" not in {p.name for p in write_report(tmp_path, Contents([make_result(name="a")]))}


def test_a_mean_curve_takes_the_steps_that_all_runs_have() -> None:
    long = Series(np.asarray([1.0, 2, 3]), np.asarray([0.0, 2, 9]))
    short = Series(np.asarray([1.0, 2]), np.asarray([2.0, 4]))
    mean = mean_series([long, short])
    assert (mean.steps.tolist(), mean.values.tolist()) == ([1, 2], [1, 3])


def test_runs_of_one_name_share_a_colour(tmp_path: Path) -> None:
    runs = [Run("sft", {s: {"actor/kl_loss": k * s} for s in range(40)}) for k in (1.0, 2.0, 3.0)]
    draw_curves([*runs, Run("other", runs[0].log)], tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).reshape(-1, 3)
    shown = [
        (pixels == colour).all(axis=1).sum() > 50 for colour in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0), (0, 0x9E, 0x73))
    ]
    assert shown == [True, True, False]
