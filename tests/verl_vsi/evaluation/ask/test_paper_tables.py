from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from verl_vsi.evaluation.ask.evaluation import Evaluation
from verl_vsi.evaluation.ask.paper_tables import plan_table
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.task_columns import VSIBENCH


@pytest.fixture
def evaluation() -> Evaluation:
    questions: Any = None
    return Evaluation(questions, make_protocol("paper"), VSIBENCH, Path(), Path(), "")


def test_table_2_runs_what_is_given_and_says_what_is_missing(evaluation: Evaluation, tmp_path: Path) -> None:
    plan = plan_table("2", "2B", {"base": "hub/base", "vsgrpo-t": "runs/t"}, evaluation, tmp_path)
    rows = {
        (model, job.evaluation.table_row, job.evaluation.protocol.mode.name)
        for model, jobs in plan.jobs.items()
        for job in jobs
    }
    assert rows == {
        ("hub/base", "2B base vanilla", "vanilla"),
        ("runs/t", "2B vsGRPO-T think", "think"),
        ("runs/t", "2B vsGRPO-T vanilla", "vanilla"),
    }
    assert set(plan.missing) == {
        "2B SFT vanilla",
        "2B DPO vanilla",
        "2B vsGRPO-O observe",
        "2B vsGRPO-O vanilla",
        "2B vsGRPO-V vanilla",
    }
    assert "--given sft=" in plan.missing["2B SFT vanilla"]
    assert plan.missing["2B vsGRPO-V vanilla"].endswith("+recipe=vsgrpo_2b")
    assert plan.missing["2B vsGRPO-O vanilla"].endswith("+recipe=vsgrpo_2b mode=observe")


def test_table_1_asks_the_base_in_three_modes_each_with_its_own_budget(evaluation: Evaluation, tmp_path: Path) -> None:
    jobs = plan_table("1", "7B", {"base": "b"}, evaluation, tmp_path).jobs["b"]
    budgets = {job.evaluation.protocol.mode.name: job.evaluation.protocol.max_tokens for job in jobs}
    assert budgets == {"think": 1024, "observe": 1024, "vanilla": 32}
    assert len({job.out for job in jobs}) == 3
    cut = plan_table("1", "7B", {"base": "b"}, evaluation, tmp_path, max_tokens=300).jobs["b"]
    assert {job.evaluation.protocol.max_tokens for job in cut} == {300}
    with pytest.raises(ValueError, match="100 new tokens cut off a think answer"):
        plan_table("1", "7B", {"base": "b"}, evaluation, tmp_path, max_tokens=100)


@pytest.mark.parametrize(("table", "size"), [("3", "2B"), ("1", "72B")])
def test_an_unknown_table_or_size_is_refused(evaluation: Evaluation, tmp_path: Path, table: str, size: str) -> None:
    with pytest.raises(ValueError, match="--table 1 or 2"):
        plan_table(table, size, {}, evaluation, tmp_path)
