from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_vsi.data_adapters.rows import SCHEMA
from verl_vsi.data_adapters.schema import TASKS
from verl_vsi.evaluation.conditions import under
from verl_vsi.evaluation.items import Item, digest, draw, read_set
from verl_vsi.evaluation.task_columns import column_of


def test_rows_come_back_as_questions(data_root: Path, items: list[Item]) -> None:
    read = read_set(data_root / "rows.parquet")
    assert [replace(i, dataset="") for i in read.items] == items
    assert read.fingerprint["builder"] == "test"
    assert read.fingerprint["questions"] == 30


def test_tiny_takes_as_many_of_each_of_the_eight_tasks(make_item: Callable[..., Item]) -> None:
    many = [make_item(i, TASKS[i % 10]) for i in range(1000)]
    tiny = draw(many, 50, seed=0)
    assert set(Counter(column_of(i.task) for i in tiny).values()) == {50}
    shares = [Counter(i.task for i in tiny)[t] for t in TASKS if "direction" in t]
    assert sorted(shares) == [16, 17, 17]
    assert tiny == draw(many, 50, seed=0) != draw(many, 50, seed=1)


def test_a_task_with_fewer_questions_gives_what_it_has(make_item: Callable[..., Item]) -> None:
    assert len(draw([make_item(i, "room_size_estimation") for i in range(3)], 50, seed=0)) == 3


def test_shuffled_gives_every_question_another_scenes_video(items: list[Item]) -> None:
    shuffled = under(items, "shuffled", seed=0)
    assert all(a.video != b.video and a.question == b.question for a, b in zip(items, shuffled, strict=True))
    assert {i.video for i in shuffled} == {i.video for i in items}


def test_one_scene_can_not_be_shuffled(make_item: Callable[..., Item]) -> None:
    with pytest.raises(ValueError, match="two scenes"):
        under([make_item(0, "object_counting")], "shuffled")


def test_blind_has_no_video(items: list[Item]) -> None:
    assert {i.video for i in under(items, "blind")} == {None}


def test_the_digest_knows_every_change_of_what_is_asked(items: list[Item]) -> None:
    changed = [[replace(items[0], **{k: "x"}), *items[1:]] for k in ("question", "truth", "video")]
    assert len({digest(items), *map(digest, changed)}) == 4


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_question_a_task_is_refused(data_root: Path, count: int) -> None:
    with pytest.raises(ValueError, match="take at least one"):
        read_set(data_root / "rows.parquet", limit=count)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"videos": []}, "row 3 .* has 0 videos"),
        ({"videos": None}, "row 3: a field is missing or null"),
        ({"extra_info": None}, "row 3: a field is missing or null"),
        ({"reward_model": None}, "row 3: a field is missing or null"),
        ({"reward_model": {"ground_truth": None}}, "row 3 .*no answer"),
        ({"reward_model": {"ground_truth": "three"}}, "row 3 .*'three' is not a number"),
        ({"reward_model": {"ground_truth": "nan"}}, "row 3 .*'nan' is not a number"),
        ({"task": "chess"}, "task 'chess' is none of VSI-Bench's"),
        ({"kind": "choice"}, "row 3 .*none of the options"),
    ],
    ids=str,
)
def test_a_row_that_could_not_be_scored_is_refused_before_anything_is_asked(
    data_root: Path, spoil: dict[str, Any], message: str
) -> None:
    rows = pq.read_table(data_root / "rows.parquet").to_pylist()
    row = rows[3]
    for key, value in spoil.items():
        (row if key in row else row["extra_info"])[key] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), data_root / "spoilt.parquet")
    with pytest.raises(ValueError, match=message):
        read_set(data_root / "spoilt.parquet")
