from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from verl_vsi.data_adapters.schema import TASKS
from verl_vsi.evaluation.items import Item, digest, draw, read_set, under
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
