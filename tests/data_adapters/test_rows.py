"""Rows: what verl reads, whole on disk, and refused with a reason."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_vsi.data_adapters.questions import build_questions
from verl_vsi.data_adapters.rows import iter_rows, make_row, read_fingerprint, read_rows, rows_of, write_rows
from verl_vsi.data_adapters.schema import Question, Rejected
from verl_vsi.data_adapters.synthetic_rooms import make_room

GOOD: dict[str, Any] = {"dataset": "rooms", "video": "rooms/a.mp4", "data_source": "vsi100k", "split": "train"}


def _question(**changes) -> Question:
    values: dict[str, Any] = {
        "task": "object_counting",
        "text": "How many?",
        "answer": "3",
        "kind": "number",
        "scene_id": "scene0",
    }
    return Question(**(values | changes))


def _rows():
    scenes = [make_room(0, i).scene for i in range(3)]
    rows = rows_of(build_questions(scenes, "paper"), data_source="vsi100k", split="train")
    return (row for row in rows if not isinstance(row, Rejected))


def test_a_row_has_verl_s_shape():
    row = make_row(_question(trace={"rule": "r"}), **GOOD, index=7)
    assert row == {
        "data_source": "vsi100k/object_counting",
        "prompt": [{"role": "user", "content": "<video>How many?"}],
        "videos": ["rooms/a.mp4"],
        "reward_model": {"style": "rule", "ground_truth": "3"},
        "extra_info": {
            "index": 7,
            "scene_id": "scene0",
            "dataset": "rooms",
            "task": "object_counting",
            "kind": "number",
            "question": "How many?",
            "options": [],
            "split": "train",
            "trace": '{"rule": "r"}',
        },
    }


def test_rows_come_back_as_written_and_numbered(tmp_path):
    rows = list(_rows())
    write_rows(tmp_path / "a.parquet", rows, {})
    read = read_rows(tmp_path / "a.parquet")
    assert read == rows == list(iter_rows(tmp_path / "a.parquet"))
    assert [r["extra_info"]["index"] for r in read] == list(range(len(read)))


def test_the_fingerprint_follows_the_content(tmp_path):
    fingerprint = write_rows(tmp_path / "a.parquet", _rows(), {"rules": "paper", "seed": 0, "published": True})
    assert read_fingerprint(tmp_path / "a.parquet") == fingerprint
    assert (fingerprint["rules"], fingerprint["published"], fingerprint["rows"]) == ("paper", True, len(list(_rows())))
    assert write_rows(tmp_path / "b.parquet", _rows(), {})["sha256"] == fingerprint["sha256"]
    assert (tmp_path / "a.parquet").read_bytes() == _rewritten(tmp_path / "a.parquet", fingerprint)
    changed = [make_row(_question(answer="4"), **GOOD)]
    assert write_rows(tmp_path / "c.parquet", changed, {})["sha256"] != fingerprint["sha256"]


def _rewritten(path, fingerprint) -> bytes:
    about = {k: fingerprint[k] for k in ("rules", "seed", "published")}
    write_rows(path, _rows(), about)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": ""}, r"scene 'scene0', task object_counting.*no answer"),
        ({"answer": "three"}, "answer 'three' is not a number"),
        ({"answer": "nan"}, "answer 'nan' is not a number"),
        ({"answer": "inf"}, "answer 'inf' is not a number"),
        ({"answer": "-3"}, "answer '-3' cannot be true"),
        ({"answer": "1e6"}, "answer '1e6' is implausible: object_counting is at most 1000 objects"),
        ({"answer": "0", "task": "object_abs_distance"}, "cannot be true: object_abs_distance is above 0"),
        ({"answer": "4916", "task": "object_size_estimation"}, "implausible"),
        ({"answer": "A", "kind": "word", "task": "object_rel_distance"}, "'A' is unreachable"),
        ({"answer": "the sink", "kind": "word", "task": "object_rel_distance"}, "reads 'sink' in it"),
        ({"text": ""}, "question must be a text"),
        ({"text": "a" * 10_001}, "is too long: 10001 characters"),
        ({"text": "\x1b[2J"}, "control character"),
        ({"text": "\ud800"}, "control character"),
        ({"scene_id": " "}, "scene must be a text"),
        ({"answer": "A", "kind": "choice", "options": ("A. x", "A. y")}, "must have one letter each"),
        ({"answer": "E", "kind": "choice", "options": ("A. x", "B. y")}, r"'E' is none of the options \['A', 'B'\]"),
    ],
)
def test_a_question_that_cannot_be_scored_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_row(_question(**changes), **GOOD)


def test_a_video_out_of_the_data_root_is_refused():
    with pytest.raises(ValueError, match=r"path '\.\./a\.mp4' leaves the data root"):
        make_row(_question(), **{**GOOD, "video": "../a.mp4"})


def test_a_question_that_cannot_be_scored_ends_no_build():
    scene = make_room(0, 0).scene
    questions = [(_question(), scene), (_question(answer="nan"), scene), (_question(answer="4"), scene)]
    first, bad, last = rows_of(questions, data_source="vsi100k", split="train")
    assert isinstance(bad, Rejected)
    assert (bad.where, bad.reason) == (scene.id, "cannot be scored")
    assert "'nan' is not a number" in bad.detail
    assert isinstance(first, dict)
    assert isinstance(last, dict)


def test_no_rows_is_an_error_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="no rows to write"):
        write_rows(tmp_path / "a.parquet", [], {})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_keeps_the_former_file(tmp_path):
    write_rows(tmp_path / "a.parquet", _rows(), {})
    before = (tmp_path / "a.parquet").read_bytes()

    def full():
        yield from _rows()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_rows(tmp_path / "a.parquet", full(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
    assert (tmp_path / "a.parquet").read_bytes() == before


def test_wrong_files_are_named_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; make it with"):
        read_rows(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"text\.parquet: not a parquet file"):
        read_rows(tmp_path / "text.parquet")
    pq.write_table(pa.table({"question": ["a"]}), tmp_path / "foreign.parquet")
    with pytest.raises(ValueError, match=r"column 'data_source' is missing \(it has question\).*import"):
        read_rows(tmp_path / "foreign.parquet")
    write_rows(tmp_path / "a.parquet", _rows(), {})
    pq.write_table(pq.read_table(tmp_path / "a.parquet").slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"empty\.parquet: the file has no rows"):
        read_rows(tmp_path / "empty.parquet")


def test_a_foreign_file_of_the_right_shape_has_no_fingerprint(tmp_path):
    write_rows(tmp_path / "a.parquet", _rows(), {})
    pq.write_table(pq.read_table(tmp_path / "a.parquet").replace_schema_metadata(None), tmp_path / "b.parquet")
    assert read_fingerprint(tmp_path / "b.parquet") == {}


def test_a_flipped_byte_is_seen(tmp_path):
    write_rows(tmp_path / "a.parquet", [make_row(_question(answer="3"), **GOOD)], {})
    content = (tmp_path / "a.parquet").read_bytes()
    place = content.index(b"How many?")
    (tmp_path / "a.parquet").write_bytes(content[:place] + b"N" + content[place + 1 :])
    with pytest.raises(ValueError, match=r"a\.parquet: damaged after row 0 .*build or download it again"):
        read_rows(tmp_path / "a.parquet")
