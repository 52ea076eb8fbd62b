from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from verl_vsi.config import provenance
from verl_vsi.evaluation.report.contents import Contents, tables
from verl_vsi.evaluation.report.figures import draw_curves, running_mean
from verl_vsi.evaluation.report.report_files import write_report
from verl_vsi.evaluation.report.table_formats import terminal_table
from verl_vsi.evaluation.report.tables import error_meaning, result_row
from verl_vsi.evaluation.report.training_logs import TrainingLog, read_run
from verl_vsi.evaluation.score.seeds import differences

VAL = "val-core/vsi100k/object_counting/acc/mean@1"


def make_run(name: str, kl: float) -> TrainingLog:
    parts = {"train-aux/all/reward/accuracy/mean": 0.5, "train-aux/all/reward/format/mean": 1.0}
    log = {s: {"actor/kl_loss": kl * s, "response_length/mean": 9.0, **parts} for s in range(1, 40)}
    log[39][VAL] = 0.6
    return TrainingLog(name, log)


def test_a_report_holds_tables_and_pictures(make_result: Callable[..., Any], tmp_path: Path) -> None:
    results, runs = [make_result(name="base"), make_result(name="sft")], [make_run("kl", 0.01), make_run("no kl", 1.0)]
    written = write_report(tmp_path, Contents(results, runs, ["table1"]))
    assert all(path.stat().st_size > 0 for path in written)
    assert {p.name for p in written} >= {
        "report.md",
        "tasks.png",
        "tasks.pdf",
        "curves.png",
        "curves.pdf",
        "table_1.tex",
    }
    text = (tmp_path / "report.md").read_text()
    assert "| base |" in text
    assert "| best constant (test) |" in text
    assert "| no kl, step 39 | 60.0 |" in text
    assert "extraction are not stated in the paper" in text
    assert text.count("best constant (test)") == 1  # both results asked the same questions


def test_a_report_opens_with_what_it_is_of(make_result: Callable[..., Any], tmp_path: Path) -> None:
    run = replace(make_run("sft", 0.01), origin=", sft_2b mode=think, seed 3, model tiny")
    write_report(tmp_path, Contents([make_result(name="base"), make_result(name="sft")], [run]))
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# base, sft: results by verl-vsi\n")
    assert "| sft | m | 1 | " in text
    assert "official preset, mode vanilla, VSI-Bench's own prompts, 32 frames of " in text
    assert "- training run sft: 39 steps, sft_2b mode=think, seed 3, model tiny" in text
    assert "brackets: 95 % bootstrap interval over questions" in text


def test_a_run_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "1.jsonl").write_text('{"step": 1, "data": {"actor/kl_loss": 0.1}}\n')
    assert read_run(tmp_path).origin == ""
    record = {
        "recipe": "sft_2b",
        "overrides": ["+recipe=sft_2b", "vsi.seed=3"],
        "seed": 3,
        "resolved": {"vsi": {"model": "tiny"}},
    }
    provenance.write(record, tmp_path / "provenance" / "1.json")
    assert read_run(tmp_path).origin == ", +recipe=sft_2b vsi.seed=3, seed 3, model tiny"


def test_an_entry_has_one_colour_in_every_picture(make_result: Callable[..., Any], tmp_path: Path) -> None:
    """base, then sft; only sft was trained, so its curve would be the first."""
    results = [make_result({"object_counting": ["9", "9"]}, name="base"), make_result(name="sft")]
    contents = Contents(results, [make_run("sft", 0.1)], differences=differences(results, ["base"]))
    write_report(tmp_path, contents)
    for picture, blue in (("tasks", True), ("curves", False), ("differences", False)):
        pixels = np.asarray(Image.open(tmp_path / f"{picture}.png").convert("RGB")).reshape(-1, 3)
        counts = [(pixels == colour).all(axis=1).sum() for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))]
        assert [bool(count > 50) for count in counts] == [blue, True], picture


@pytest.mark.parametrize(
    ("runs", "meaning"),
    [
        ([1, 1], "± one standard error over questions; one run, so nothing of how runs differ"),
        ([3], "± one standard error over runs and questions together"),
        ([3, 1], "± one standard error over runs and questions together (of a row of one run: over questions alone)"),
    ],
)
def test_what_stands_behind_an_error_is_said(runs: list[int], meaning: str) -> None:
    assert error_meaning(runs) == meaning


def test_curves_of_several_runs_are_drawn_in_panels(tmp_path: Path) -> None:
    panels = draw_curves([make_run("a", 0.1), make_run("b", 0.2)], tmp_path / "curves.png")
    assert panels == ["accuracy reward", "format reward", "KL to the reference", "response length", "held-out score"]
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # both runs are to be seen
        assert (pixels == colour).all(axis=1).sum() > 50


def test_every_reward_term_has_a_panel_the_papers_first(tmp_path: Path) -> None:
    log = {s: {f"train-aux/all/reward/{t}/mean": 0.5 for t in ("short", "format", "accuracy")} for s in (1, 2)}
    assert draw_curves([TrainingLog("a", log)], tmp_path / "curves.png") == [
        "accuracy reward",
        "format reward",
        "short reward",
    ]


def test_runs_without_a_known_metric_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of verl's metrics"):
        draw_curves([TrainingLog("x", {1: {"mine": 1.0}})], tmp_path / "x.png")


def test_a_running_mean_keeps_a_constant_to_its_ends() -> None:
    assert running_mean(np.full(20, 3.0), 9) == pytest.approx(np.full(20, 3.0))


def test_an_unknown_paper_table_is_named() -> None:
    with pytest.raises(ValueError, match="table 'table9' is not shipped; there are table1"):
        tables(Contents(papers=["table9"]))


HOSTILE = "=1+1 [/x] $\\foo$ a|b <b> ~^ \\input{x}\x1b[2J\nnext"


def test_a_name_reaches_no_output_as_anything_but_text(make_result: Callable[..., Any], tmp_path: Path) -> None:
    """Markup, formulas, commands, escapes and line breaks, in every format."""
    write_report(tmp_path, Contents([make_result(name=HOSTILE), make_result(name="b")], [make_run(HOSTILE, 0.1)], []))
    written = {path.suffix: path.read_text() for path in tmp_path.iterdir() if path.suffix in (".md", ".csv", ".tex")}
    assert all("\x1b" not in text and "\nnext" not in text for text in written.values())
    assert r"a\|b \<b\> ~^ \\input{x}\\x1b\[2J\\nnext |" in written[".md"]
    assert r"=1+1 [/x] \$\textbackslash{}foo\$ a|b <b> \textasciitilde{}\textasciicircum{}" in written[".tex"]
    names = [line[0] for line in csv.reader(written[".csv"].splitlines())]
    assert any(name.startswith("'=1+1") for name in names)
    assert not any(name.startswith("=") for name in names)
    terminal = Console(file=io.StringIO(), width=300)
    terminal.print(terminal_table([result_row(make_result(name=HOSTILE))], HOSTILE))
    assert terminal.file.getvalue().count("[/x]") == 2  # type: ignore[attr-defined]
    assert "\x1b" not in terminal.file.getvalue()  # type: ignore[attr-defined]
