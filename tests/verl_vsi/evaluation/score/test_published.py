"""The shipped data are the printed tables; golden values from arXiv 2504.00883v2, Tables 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verl_vsi.evaluation.score.published import published
from verl_vsi.evaluation.task_columns import COLUMNS

TABLE_2 = {
    "2B base vanilla": (23.3, [21.4, 3.4, 32.3, 31.1, 26.7, 27.7, 24.7, 18.9]),
    "2B SFT vanilla": (29.6, [29.6, 23.5, 47.4, 33.5, 26.9, 28.3, 28.8, 18.6]),
    "2B DPO vanilla": (23.9, [21.7, 3.7, 34.8, 32.4, 27.1, 28.5, 24.2, 18.6]),
    "2B vsGRPO-T think": (29.6, [35.0, 28.2, 34.7, 25.2, 28.0, 38.5, 28.5, 18.7]),
    "2B vsGRPO-O observe": (31.2, [34.6, 22.5, 44.8, 33.7, 29.4, 41.8, 26.8, 15.8]),
    "2B vsGRPO-V vanilla": (35.4, [53.6, 29.0, 52.7, 43.4, 28.1, 30.9, 26.8, 18.9]),
    "7B base vanilla": (32.2, [39.4, 25.0, 25.8, 43.2, 32.6, 30.9, 27.8, 32.6]),
    "7B SFT vanilla": (38.1, [44.7, 27.6, 46.1, 50.4, 34.0, 35.7, 33.0, 33.4]),
    "7B DPO vanilla": (32.6, [39.1, 25.2, 26.5, 44.2, 32.6, 30.9, 29.3, 33.3]),
    "7B vsGRPO-V vanilla": (40.7, [59.9, 29.6, 50.8, 48.3, 35.4, 35.6, 34.0, 31.5]),
}


@pytest.mark.parametrize("key", TABLE_2)
def test_table_2_is_as_printed(key: str) -> None:
    row = next(r for r in published()["table2"].rows if r.size and r.key == key)
    average, tasks = TABLE_2[key]
    assert (row.average, [row.tasks[c] for c in COLUMNS]) == (average, tasks)


@pytest.mark.parametrize(
    ("key", "average"),  # T and O models also with the V prompt
    [("2B vsGRPO-T vanilla", 26.1), ("2B vsGRPO-O vanilla", 28.0)],
)
def test_trained_modes_are_printed_with_the_vanilla_prompt_too(key: str, average: float) -> None:
    assert next(r for r in published()["table2"].rows if r.size and r.key == key).average == average


def test_table_1_has_three_modes_of_two_models() -> None:
    averages = {row.key: row.average for row in published()["table1"].rows}
    assert averages == {
        "2B base think": 22.9,
        "2B base observe": 21.8,
        "2B base vanilla": 23.3,
        "7B base think": 31.3,
        "7B base observe": 32.0,
        "7B base vanilla": 32.2,
    }


def test_the_only_slips_are_the_known_ones_and_are_said() -> None:
    slips = {(t, row.name) for t, table in published().items() for row in table.rows if not row.adds_up}
    assert slips == {("table1", "Qwen2-VL-2B think"), ("vsibench", "Chance (frequency)")}
    row = next(r for r in published()["table1"].rows if not r.adds_up)
    assert (row.average, row.recomputed) == (22.9, pytest.approx(20.71, abs=0.01))
    assert row.cautions == ("the printed average, 22.9, is not the mean of its own row, 20.7",)


def test_geminis_tiny_set_is_said() -> None:
    gemini = next(r for r in published()["table2"].rows if r.name == "Gemini-1.5 Pro")
    assert "45.4" in gemini.cautions[0]


def test_the_data_names_its_sources() -> None:
    path = Path(__file__).parents[4] / "verl_vsi" / "evaluation" / "score" / "published.json"
    tables = json.loads(path.read_text(encoding="utf-8"))["tables"].values()
    assert {t["source"][:-2] for t in tables} == {"arXiv:2504.00883", "arXiv:2412.14171"}
