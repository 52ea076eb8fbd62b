"""The file of a result: what is written is read back, and files of the first format are read as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.evaluation.score.comparison import compare
from verl_vsi.evaluation.score.result import Result, Usage, read_result, write_result

FORMAT_1 = Path(__file__).parents[1] / "format_1" / "normal.json"
"""As verl-vsi 0.1's first format had it, with keys that hold spaces."""


def test_what_is_written_is_read_back(make_result: Callable[..., Result], tmp_path: Path) -> None:
    result = make_result({"object_counting": ["4", "no"]}, table_row="2B SFT vanilla", served={"step": "global_step_9"})
    write_result(tmp_path / "normal.json", result)
    assert read_result(tmp_path / "normal.json") == result


def test_no_key_of_a_file_holds_a_space(make_result: Callable[..., Result], tmp_path: Path) -> None:
    write_result(tmp_path / "normal.json", make_result(table_row="2B SFT vanilla", sent_as="PNG images"))
    assert not [key for key in keys(json.loads((tmp_path / "normal.json").read_text())) if " " in key]
    assert [key for key in keys(json.loads(FORMAT_1.read_text())) if " " in key] != [], "so that this can fail"


def keys(node: Any) -> list[str]:
    if isinstance(node, list):
        return [key for item in node for key in keys(item)]
    return [k for key, value in node.items() for k in (key, *keys(value))] if isinstance(node, dict) else []


def test_the_first_format_is_read() -> None:
    result = read_result(FORMAT_1)
    assert (result.labels.table_row, result.labels.sent_as) == ("2B vsGRPO-T think", "a video of PNG frames")
    assert result.labels.served == {"step": "global_step_9", "sha256": "ab"}
    assert result.usage == Usage(1000, 9, 0.0, 2, {"429": 1})
    assert result.usage.line() == "2 requests (failed in this start: 429 1 times), 1000 prompt and 9 new tokens"
    assert result.answers[0].response == "<think>four</think><answer>4</answer>"
    assert (result.title, result.scores["score"].overall.mean) == ("vsgrpo-t, think", 1.0)


def test_a_file_of_the_first_format_differs_in_nothing_from_the_same_in_todays(tmp_path: Path) -> None:
    write_result(tmp_path / "normal.json", read_result(FORMAT_1))
    assert compare(read_result(FORMAT_1), read_result(tmp_path / "normal.json")).labels == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("scores"),
        lambda record: record["labels"].pop("condition"),
        lambda record: record["labels"].update(temperature=0.7),  # a label that only another version knows
        lambda record: record["answers"][0].pop("score"),
        lambda record: record.update(labels=[]),
        lambda record: record.update(usage=None),
    ],
)
def test_a_spoilt_file_is_no_result(tmp_path: Path, spoil: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads(FORMAT_1.read_text())
    spoil(record)
    (tmp_path / "x.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="not a result of verl-vsi eval"):
        read_result(tmp_path / "x.json")


@pytest.mark.parametrize(
    "forge",
    [
        lambda record: record["scores"]["score"]["overall"].update(mean=0.99),
        lambda record: record["scores"]["reward"]["tasks"]["object_counting"].update(mean=0.99),
        lambda record: record["scores"]["score"]["tasks"]["object_counting"].update(n=5000),
        lambda record: record["scores"]["score"]["tasks"].pop("object_counting"),
        lambda record: record["answers"][0].update(score=0.0),
        lambda record: record["scores"]["score"]["overall"].update(mean=float("nan")),
    ],
)
def test_means_that_are_not_those_of_the_answers_are_refused(
    make_result: Callable[..., Result], tmp_path: Path, forge: Callable[[dict[str, Any]], Any]
) -> None:
    path = tmp_path / "normal.json"
    write_result(path, make_result())
    record = json.loads(path.read_text())
    forge(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="are not those of its answers; the file was edited"):
        read_result(path)
