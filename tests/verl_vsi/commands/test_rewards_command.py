"""`verl-vsi rewards` says what a response scores, and why."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from verl_vsi.cli import main


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["rewards", *args], env={"COLUMNS": "160"})


def test_try_explains_a_score_term_by_term() -> None:
    response = "<think>I see four</think><answer>5</answer>"
    result = run("try", response, "--task", "object_counting", "--truth", "4", "--mode", "think")
    assert result.exit_code == 0
    for part in ("robust reads 5.0", "accuracy", "0.750", "min_relative", "format", "1.750", "acc 0.600"):
        assert part in result.output


def test_a_response_may_begin_with_a_minus() -> None:
    result = run("try", "-3.5", "--task", "object_abs_distance", "--truth", "3.3")
    assert "robust reads -3.5" in result.output


def test_try_says_when_nothing_could_be_read() -> None:
    result = run("try", "[bold] idea", "--task", "object_counting", "--truth", "4")
    assert "reads nothing, a parse failure" in result.output


def test_try_shows_brackets_as_they_are() -> None:
    result = run("try", "[red]", "--task", "route_planning", "--truth", "A", "--extraction", "official")
    assert "official reads [red]" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--mode", "ponder"], "mode 'ponder' is unknown; one of observe, think, vanilla"),
        (["--numeric", "l2"], "reward numeric 'l2' is unknown"),
        (["--term", "accuracy"], "--term is name=weight"),
        (["--term", "speed=1"], "reward term 'speed' is unknown"),
        (["--task", "counting"], "task 'counting' is unknown; one of obj_appearance_order, object_abs_distance"),
    ],
)
def test_try_refuses_what_it_does_not_know(args: list[str], message: str) -> None:
    result = run("try", "4", "--task", "object_counting", "--truth", "4", *args)
    assert result.exit_code == 2
    assert message in result.output


def test_try_names_a_missing_option() -> None:
    result = run("try", "4")
    assert result.exit_code == 2
    assert "Missing option '--task'" in result.output


def test_list_names_every_choice() -> None:
    output = run("list").output
    for name in (
        "accuracy",
        "format",
        "length",
        "min_relative",
        "inverse",
        "mra",
        "exact",
        "official",
        "lmms_eval",
        "r1v",
    ):
        assert name in output
