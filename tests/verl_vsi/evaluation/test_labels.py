from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from verl_vsi.evaluation.labels import Labels


def test_labels_come_back_from_their_json(make_result: Callable[..., Any]) -> None:
    labels = make_result(table_row="2B SFT vanilla", served={"sha256": "ab"}).labels
    assert Labels.from_json(json.loads(json.dumps(labels.to_json()))) == labels


def test_labels_that_say_nothing_are_left_out(make_result: Callable[..., Any]) -> None:
    assert not {"served", "table_row", "sent_as"} & make_result().labels.to_json().keys()


def test_a_journal_may_be_scored_under_another_name_and_average(make_result: Callable[..., Any]) -> None:
    first, second = make_result(name="a"), make_result(name="b", tasks="present")
    assert first.labels.journal_head() == second.labels.journal_head()
    assert first.labels.journal_head() != make_result(condition="blind").labels.journal_head()
