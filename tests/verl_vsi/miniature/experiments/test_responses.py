"""Shares of hacks in verl's dumps of responses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verl_vsi.miniature.experiments.responses import empty_thought, read_dumps, repeated_tag, samples, shares

GOOD = "<observe>two by the wall</observe> <answer>2</answer>"
EMPTY = "<observe> </observe><answer>2</answer>"
AGAIN = "<observe>a</observe><answer>2</answer><answer>2</answer>"

TAGS = [
    # text, empty thought, repeated tag
    (GOOD, 0, 0),
    (EMPTY, 1, 0),
    ("<observe>...</observe><answer>2</answer>", 1, 0),
    (AGAIN, 0, 1),
    ("<observe></observe><observe></observe><answer>2</answer>", 1, 1),
    ("<observe>a</observe><answer>2</answer></answer>", 0, 1),
    ("2", 0, 0),
    ("<observe>", 0, 0),
    ("<think></think><think></think>2", 0, 0),
    ("", 0, 0),
]


@pytest.mark.parametrize(("text", "empty", "repeated"), TAGS)
def test_hacks_are_told_apart(text: str, empty: int, repeated: int) -> None:
    assert (empty_thought(text, "observe"), repeated_tag(text, "observe")) == (empty, repeated)


def test_shares_of_a_step() -> None:
    dump = [{"output": text} for text in (GOOD, EMPTY, AGAIN, "2")]
    assert shares(dump, "observe") == {"strict": 0.25, "loose": 0.75, "repeated": 0.25, "empty": 0.25}


def test_samples_are_the_best_rewarded_that_differ() -> None:
    rows = [(GOOD, 1.5), (AGAIN, 2.5), (AGAIN, 2.4), ("2", 0.1), (EMPTY, 2.0)]
    best = samples([{"output": o, "score": s, "gts": "2"} for o, s in rows], "observe")
    assert [sample["response"] for sample in best] == [AGAIN, EMPTY, GOOD]
    assert [(sample["strict"], sample["loose"]) for sample in best] == [(0.0, 1.0), (0.0, 1.0), (1.0, 1.0)]


def test_dumps_come_in_order_of_steps(tmp_path: Path) -> None:
    for step in (10, 2, 1):
        (tmp_path / f"{step}.jsonl").write_text(json.dumps({"output": GOOD}) + "\n", encoding="utf-8")
    assert list(read_dumps(tmp_path)) == [1, 2, 10]
