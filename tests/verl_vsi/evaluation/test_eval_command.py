"""`verl-vsi eval` as a user types it, against an endpoint of the test's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from verl_vsi.commands.evaluate import app
from verl_vsi.config import provenance

FRAMES = ["--nframes", "4", "--min-pixels", "3136", "--max-pixels", "3136"]


def evaluate(data_root: Path, out: Path, *more: str) -> Result:
    where = ["--rows", str(data_root / "rows.parquet"), "--root", str(data_root), "--out", str(out)]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*where, *FRAMES, *more])


@pytest.fixture
def answers_four(start_endpoint: Callable[..., Any], completion: Callable[..., str]) -> Any:
    return start_endpoint(lambda request, before: (200, {}, completion("<think>so</think><answer>4</answer>")))


def test_a_table_runs_the_rows_that_are_given_names_the_missing_and_repeats_nothing(
    data_root: Path, tmp_path: Path, answers_four: Any
) -> None:
    words = ["--table", "2", "--given", "base=b", "--given", "vsgrpo-t=t", "--base-url", answers_four.base_url]
    first = evaluate(data_root, tmp_path, *words)
    assert first.exit_code == 0, first.output
    assert "row 2B SFT vanilla is missing: no model is given for it (--given sft=...)" in first.output
    assert "ours: vsgrpo-t, think" in first.output
    assert "ours − printed" in first.output
    assert Counter(r["model"] for r in answers_four.requests) == {"b": 30, "t": 60}
    budgets = {(r["model"], r["max_tokens"]) for r in answers_four.requests}
    assert budgets == {("b", 32), ("t", 32), ("t", 1024)}  # the T model also with the V prompt
    labels = json.loads((tmp_path / "2B_vsGRPO-T_think" / "normal.json").read_text())["labels"]
    assert (labels["table_row"], labels["mode"], labels["preset"]) == ("2B vsGRPO-T think", "think", "paper, changed")

    again = evaluate(data_root, tmp_path, *words, "--given", "sft=s")
    assert again.exit_code == 0, again.output
    assert Counter(r["model"] for r in answers_four.requests) == {"b": 30, "t": 60, "s": 30}
    assert again.output.count("every answer is there from an earlier start") == 3
    table_1 = evaluate(data_root, tmp_path, "--table", "1", "--given", "base=b", "--base-url", answers_four.base_url)
    assert table_1.exit_code == 0, table_1.output
    assert Counter(r["model"] for r in answers_four.requests)["b"] == 90, (
        "the vanilla row was there: only T and O are asked"
    )
    assert "22.9, is not the mean of its own row, 20.7" in table_1.output


def test_a_model_that_can_not_be_served_leaves_its_row_missing(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    models = ["--given", "sft=/no/such/folder", "--given", f"dpo={tmp_path / 'empty'}"]
    result = evaluate(data_root, tmp_path / "out", "--table", "2", *models)
    assert result.exit_code == 1
    assert "row 2B SFT vanilla is missing: /no/such/folder: there is no such folder" in result.output
    assert "row 2B DPO vanilla is missing:" in result.output
    assert "neither a model folder" in result.output
    assert "Qwen2-VL-2B + vsGRPO-T, think prompt" in result.output


def test_an_endpoints_model_may_be_named_by_option(data_root: Path, tmp_path: Path, answers_four: Any) -> None:
    result = evaluate(data_root, tmp_path, "--model", "gpt", "--preset", "paper", "--base-url", answers_four.base_url)
    assert result.exit_code == 0, result.output
    assert {r["model"] for r in answers_four.requests} == {"gpt"}
    assert "30 requests, 30000 prompt and 60 new tokens" in result.output


def test_failed_requests_are_counted_by_cause(
    data_root: Path, tmp_path: Path, start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    endpoint = start_endpoint(
        lambda request, before: (200, {}, completion("4")) if before else (429, {"Retry-After": "0"}, "{}")
    )
    result = evaluate(data_root, tmp_path, "m", "--base-url", endpoint.base_url)
    assert "60 requests (failed in this start: 429 30 times)" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a model, or a --table"),
        (["m", "--table", "2"], "not both"),
        (["--table", "2", "--mode", "think"], "go without --preset, --mode and --condition"),
        (["--table", "2", "--preset", "harness"], "go without --preset"),
        (["m", "--max-tokens", "8"], "8 new tokens cut off a vanilla answer"),
        (["m", "--preset", "official", "--mode", "think"], "have no think mode"),
        (["m", "--max-cost", "1"], "--price-in"),
        (["m", "--lora", "weld"], "fold or serve"),
        (["m", "--condition", "dark"], "choose of normal, shuffled, first-frame, black"),
        (["m", "--send", "smoke"], "--send 'smoke' is unknown; video or images"),
        (["m", "--base-url", "http://127.0.0.1:99999/v1"], "--base-url 'http://127.0.0.1:99999/v1': Port out of range"),
        (["m", "--base-url", "localhost:8000"], "no http or https address"),
        (["m", "--base-url", "https://me:secret@host/v1"], "holds a user, a password"),
        (["m", "--preset", "run"], "for checkpoints that lie in the folder of their run"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_way_out(
    data_root: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    result = evaluate(data_root, tmp_path, *words)
    assert result.exit_code == 2
    assert message in result.output


def test_a_name_is_shown_as_it_is(data_root: Path, tmp_path: Path, start_endpoint: Any, completion: Any) -> None:
    """Brackets are rich's markup, and escapes move a terminal's cursor."""
    endpoint = start_endpoint(lambda request, before: (200, {}, completion("4")))
    result = evaluate(data_root, tmp_path, "m", "--base-url", endpoint.base_url, "--name", "[/x]\x1b[2J")
    assert result.exit_code == 0, result.output
    assert result.output.count("[/x]\\x1b[2J") == 2
    assert "\x1b[2J" not in result.output


def test_failed_requests_end_with_status_1_and_no_result_unless_that_is_wanted(
    data_root: Path, tmp_path: Path, start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    def some(request: dict[str, Any], before: int) -> Any:
        return (503, {}, "down") if "question 0?" in str(request["messages"]) else (200, {}, completion("4"))

    words = ["m", "--base-url", start_endpoint(some).base_url, "--retries", "0"]
    result = evaluate(data_root, tmp_path, *words)
    assert result.exit_code == 1
    assert "1 of 30 questions got no answer" in result.output
    assert not (tmp_path / "normal.json").exists()
    assert evaluate(data_root, tmp_path, *words, "--incomplete").exit_code == 0
    assert json.loads((tmp_path / "normal.json").read_text())["rates"]["failed"] == pytest.approx(1 / 30)


def test_a_checkpoint_of_ones_own_is_asked_as_it_was_trained_and_says_so(data_root: Path, tmp_path: Path) -> None:
    """Its mode and frames, without an option; it can't be served here, since its weights are missing."""
    mode = {"name": "think", "tag": "think", "train_prompt": "a", "eval_prompt": "b", "response_length": 300}
    frames = {"sampler": "linspace", "nframes": 8, "min_pixels": 3136, "max_pixels": 3136}
    record = {"recipe": "mine", "resolved": {"vsi": {"mode": mode, "frames": frames}}}
    provenance.write(record, tmp_path / "run" / provenance.FOLDER / "1.json")
    where = ["--rows", str(data_root / "rows.parquet"), "--root", str(data_root), "--out", str(tmp_path / "out")]
    run = CliRunner(env={"COLUMNS": "300"})
    result = run.invoke(app, [str(tmp_path / "run"), *where])
    assert result.exit_code == 2
    assert "asked with mode think, the run's own prompts, 8 frames (linspace-n8-3136-3136-pyav), as it was trained" in (
        result.output
    )
    other = run.invoke(app, [str(tmp_path / "run"), *where, "--mode", "vanilla", "--nframes", "4"])
    assert "other than in training: mode vanilla (trained with think), frames linspace-n4" in other.output
