from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from verl_vsi.evaluation.report.published_comparison import comparison_rows, published_row
from verl_vsi.evaluation.report.table_formats import comma_separated, latex, markdown
from verl_vsi.evaluation.score.published import published


@pytest.mark.parametrize(("table", "name"), [("table1", "Qwen2-VL-2B think"), ("vsibench", "Chance (frequency)")])
def test_a_row_that_does_not_add_up_says_so(table: str, name: str) -> None:
    row = next(r for r in published()[table].rows if r.name == name)
    assert f"{row.average:.1f}, is not the mean of its own row, {row.recomputed:.1f}" in published_row(row).notes[0]


@pytest.fixture
def ours(make_result: Callable[..., Any]) -> Any:
    return make_result({"object_counting": ["4", "4"]}, table_row="2B SFT vanilla", name="sft, vanilla")


def test_ours_stands_below_the_printed_row_with_the_difference_and_its_interval(ours: Any) -> None:
    rows = comparison_rows(published()["table2"], [ours])
    at = next(i for i, row in enumerate(rows) if row.name == "Qwen2-VL-2B + SFT")
    assert rows[at + 1].name.endswith("sft, vanilla")
    difference = rows[at + 2]
    assert difference.overall.mean == pytest.approx(100 * ours.scores["score"].overall.mean - 29.6)
    assert difference.overall.low is not None
    assert difference.tasks["object_counting"].mean == pytest.approx(100 - 29.6)
    assert len(rows) == len(published()["table2"].rows) + 2


def test_an_average_over_other_tasks_is_not_subtracted(make_result: Callable[..., Any]) -> None:
    partial = make_result(
        {"object_counting": ["4"]}, tasks="present", only=["object_counting"], table_row="2B SFT vanilla"
    )
    difference = next(r for r in comparison_rows(published()["table2"], [partial]) if "−" in r.name)
    assert difference.overall.mean is None
    assert "not the same average" in difference.notes[0]


def test_the_same_table_goes_to_markdown_csv_and_latex() -> None:
    rows = comparison_rows(published()["table1"], [])
    text = markdown(rows, "Table 1")
    assert "| Qwen2-VL-2B think | 22.9 | 18.4 | 4.3 |" in text
    assert "- Qwen2-VL-2B think: the printed average, 22.9, is not the mean" in text
    table = comma_separated(rows).splitlines()
    assert table[0].startswith("name,average/mean,average/low,average/high,object_counting/mean")
    assert table[1].startswith("Qwen2-VL-2B think,22.9,,,18.4,,")
    tex = latex(rows, "Table 1 & more_")
    assert r"Qwen2-VL-2B think & 22.9 & 18.4 & 4.3" in tex
    assert r"\caption{Table 1 \& more\_}" in tex
