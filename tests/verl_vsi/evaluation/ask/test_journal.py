from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.evaluation.ask.journal import CHECK, Journal, JournalError
from verl_vsi.evaluation.items import Reply
from verl_vsi.evaluation.score.result import read_result

HEAD = {"model": "m", "frames": 4}


def filled(path: Path) -> Path:
    with Journal(path, HEAD) as journal:
        journal.add(Reply(0, "ok", "3 chairs, éclair\u2028 and\nlines"))
        journal.add(Reply(1, "failed", error="500"))
    return path


def test_replies_come_back_as_they_were(tmp_path: Path) -> None:
    with Journal(filled(tmp_path / "j.jsonl"), HEAD) as journal:
        assert journal.replies[0].text == "3 chairs, éclair\u2028 and\nlines"
        assert journal.replies[1].status == "failed"


def test_every_cut_of_the_file_keeps_the_whole_lines_and_goes_on(tmp_path: Path) -> None:
    whole = filled(tmp_path / "j.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(0, len(whole) + 1, 7):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        with Journal(path, HEAD) as journal:
            assert len(journal.replies) == max(0, sum(end <= cut for end in ends) - 1)
            journal.add(Reply(7, "ok", "again"))
        with Journal(path, HEAD) as journal:
            assert journal.replies[7].text == "again"


def test_a_spoilt_line_in_the_middle_is_asked_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "j.jsonl")
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], b"\x00\x00garbage", lines[2]]) + b"\n")
    with Journal(path, HEAD) as journal:
        assert set(journal.replies) == {1}


def test_a_later_reply_replaces_an_earlier_one(tmp_path: Path) -> None:
    with Journal(filled(tmp_path / "j.jsonl"), HEAD) as journal:
        journal.add(Reply(1, "ok", "4"))
    with Journal(tmp_path / "j.jsonl", HEAD) as journal:
        assert journal.replies[1].text == "4"


def test_another_evaluations_journal_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "j.jsonl")
    with pytest.raises(JournalError, match="frames: 4 there, 8 now"), Journal(path, HEAD | {"frames": 8}):
        pass


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\nmore\n")
    with pytest.raises(JournalError, match="not a journal"), Journal(path, HEAD):
        pass
    assert path.read_text() == "my notes\nmore\n"


def test_a_journal_of_the_first_format_goes_on(tmp_path: Path) -> None:
    """Its head has keys with spaces."""
    folder = Path(__file__).parents[1] / "format_1"
    path = Path(shutil.copy(folder / "normal.journal.jsonl", tmp_path))
    labels = read_result(folder / "normal.json").labels
    with Journal(path, labels.journal_head()) as journal:
        assert journal.replies[0].text == "<think>four</think><answer>4</answer>"
    other = replace(labels, sent_as="PNG images")
    with (
        pytest.raises(JournalError, match="sent_as: 'a video of PNG frames' there"),
        Journal(path, other.journal_head()),
    ):
        pass


HOLD = """
import sys
from pathlib import Path
from verl_vsi.evaluation.ask.journal import Journal, JournalError
try:
    with Journal(Path(sys.argv[1]), {"model": "m", "frames": 4}):
        print("held")
except JournalError as error:
    print(error)
"""


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "j.jsonl")]
    with Journal(tmp_path / "j.jsonl", HEAD):
        assert "another process" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"


@pytest.mark.parametrize(
    "spoil",
    [
        {"text": ["4"]},
        {"text": {"a": 1}},
        {"text": 4},
        {"text": None},
        {"index": "0"},
        {"index": True},
        {"status": "fine"},
        {"status": ["ok"]},
        {"prompt_tokens": 1e999},
        {"prompt_tokens": -1},
        {"attempts": None},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_line_whose_values_are_no_replys_is_asked_again(tmp_path: Path, spoil: dict[str, Any]) -> None:
    """Such as an earlier version kept of odd endpoints; those lines have no checksum."""
    path = filled(tmp_path / "j.jsonl")
    lines = path.read_bytes().splitlines()
    record = json.loads(lines[1])
    del record[CHECK]
    path.write_bytes(b"\n".join([lines[0], json.dumps(record | spoil).encode(), lines[2]]) + b"\n")
    with Journal(path, HEAD) as journal:
        assert set(journal.replies) == {1}


def test_an_edited_answer_is_asked_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "j.jsonl")
    path.write_bytes(path.read_bytes().replace(b"3 chairs", b"4 chairs"))
    with Journal(path, HEAD) as journal:
        assert set(journal.replies) == {1}


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\u2028", "\r\n", "😀"])
def test_any_text_is_kept(tmp_path: Path, text: str) -> None:
    with Journal(tmp_path / "j.jsonl", HEAD) as journal:
        journal.add(Reply(0, "ok", text, error=text, model=text))
    with Journal(tmp_path / "j.jsonl", HEAD) as journal:
        assert journal.replies[0] == Reply(0, "ok", text, error=text, model=text)


@pytest.mark.parametrize("head", ["null", "[]", "4", '{"head": null}', '{"head": [1]}', '{"head": "x"}', "[" * 100_000])
def test_a_head_of_anything_else_is_refused(tmp_path: Path, head: str) -> None:
    (tmp_path / "j.jsonl").write_text(head + "\n")
    with pytest.raises(JournalError, match="not a journal of ours"), Journal(tmp_path / "j.jsonl", HEAD):
        pass
