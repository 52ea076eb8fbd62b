"""Rows and annotations as careless and hostile hands make them: each ends in rows or in named rejections.

Every bad record stands between two good ones, which must come out as they are without it; every bad file ends in one
of our errors, with its name in it; both in bounded time and memory. Three thousand mutations more:

    pytest -m slow tests/hostile/test_rows.py
"""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verl_vsi.data_adapters.audit import audit
from verl_vsi.data_adapters.importers import import_rows
from verl_vsi.data_adapters.row_checks import row_problem
from verl_vsi.data_adapters.rows import iter_rows, make_row, read_fingerprint, write_rows
from verl_vsi.data_adapters.scene_files import read_meta_info, read_scenes, to_record
from verl_vsi.data_adapters.schema import Question, Rejected, Scene
from verl_vsi.data_adapters.synthetic_rooms import make_room
from verl_vsi.data_adapters.vsi100k import write_outcome
from verl_vsi.data_adapters.vsibench_download import benchmark_rows

MOST_SECONDS = 10.0
"""Of processor time, for one file; the largest here are read in two. Quadratic time would take minutes."""

MOST_MEBIBYTES = 700
"""By which the process may grow while it reads one: ten times the longest line."""

COUNT = "How many trash can(s)in the room?"
NEAR = "Which of these objects (sink, pillow, bed, guitar)is the closest to the bicycle?"
GOOD: dict[str, Any] = {"scene_id": "scene0191_00", "question": COUNT, "answer": "3"}


@contextmanager
def bounded() -> Iterator[None]:
    """What is done within takes bounded time and memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEBIBYTES * 1024


def lines(*records: Any) -> str:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


RECORDS: list[tuple[str, Any, str]] = [
    ("no fields", {}, "no question"),
    ("a number as question", {"question": 5}, "task not recognised"),
    ("a list as question", {"question": [COUNT]}, "no question"),
    ("true as question", {"question": True}, "no question"),
    ("no answer", {"answer": None}, "no answer"),
    ("true as answer", {"answer": True}, "no answer"),
    ("an object as answer", {"answer": {"value": 3}}, "no answer"),
    ("blanks as answer", {"answer": " \n"}, "no answer"),
    ("not a number", {"answer": float("nan")}, "is not a number"),
    ("infinity", {"answer": float("inf")}, "is not a number"),
    ("a number beyond floats", {"answer": "1e400"}, "is not a number"),
    ("a word", {"answer": "three"}, "is not a number"),
    ("hexadecimal", {"answer": "0x10"}, "is not a number"),
    ("Python's underscores", {"answer": "1_000"}, "is unreachable"),
    ("below zero", {"answer": "-3"}, "cannot be true"),
    ("more than any room holds", {"answer": "100000"}, "is implausible"),
    ("a letter without options", {"question": NEAR, "answer": "B"}, "is a letter, and no options are given"),
    ("a truth that is an article", {"question": NEAR, "answer": "the"}, "is unreachable"),
    ("options of null", {"question": NEAR, "options": [None, None], "answer": "A"}, "cannot be scored"),
    ("nested options", {"question": NEAR, "options": [["sink"]], "answer": "A"}, "cannot be scored"),
    ("thirty options", {"question": NEAR, "options": [f"o{i}" for i in range(30)], "answer": "A"}, "cannot be scored"),
    ("a letter twice", {"question": NEAR, "options": ["A. x", "A. y"], "answer": "A"}, "cannot be scored"),
    ("a letter beyond", {"question": NEAR, "options": ["A. x", "B. y"], "answer": "D"}, "is none of the options"),
    ("no scene", {"scene_id": None}, "no scene"),
    ("an object as scene", {"scene_id": {"id": 1}}, "no scene"),
    ("a climb", {"scene_id": "x", "video": "../../etc/passwd"}, "leaves the data root"),
    ("a root", {"scene_id": "x", "video": "/etc/passwd"}, "leaves the data root"),
    ("a drive", {"scene_id": "x", "video": "C:\\videos\\a.mp4"}, "leaves the data root"),
    ("a share", {"scene_id": "x", "video": "\\\\server\\a.mp4"}, "leaves the data root"),
    ("a NUL in the path", {"scene_id": "x", "video": "mine/a\x00.mp4"}, "must be a printable text"),
    ("an escape in the scene", {"scene_id": "x\x1b[2J", "video": "mine/a.mp4"}, "control character"),
    ("a reading order turned", {"question": COUNT + "\u202e"}, "control character"),
    ("half a character", {"question": COUNT + "\ud83e"}, "control character"),
    ("a long question", {"question": COUNT + "x" * 1_000_000}, "is too long"),
    ("a long scene", {"scene_id": "x" * 1_000_000, "video": "mine/a.mp4"}, "is too long"),
    ("two hundred thousand blanks", {"question": "How many" + " " * 200_000 + "x"}, "task not recognised"),
    ("a million tags", {"answer": "<answer>" * 1_000_000}, "is too long"),
    ("the same words over and over", {"question": "standing by facing " * 20_000}, "task not recognised"),
    ("letters over and over", {"question": "Which? " + "A. " * 100_000}, "task not recognised"),
    ("two scenes", {"video": "scannet/scene0200_00.mp4"}, "scene and video disagree"),
    ("frames of two folders", {"scene_id": None, "images": ["a/0.jpg", "b/0.jpg"]}, "frames lie in several folders"),
    ("a homoglyph", {"scene_id": "\u0455cene0025_01"}, "scene of VSI-Bench"),
    ("a benchmark video", {"scene_id": "mine", "video": "scannet/Scene0025_01.MP4"}, "scene of VSI-Bench"),
    ("turns that are none", {"question": None, "conversations": [1, 2]}, "no question"),
    ("turns of odd types", {"question": None, "messages": [{"role": 5, "content": [None]}]}, "no question"),
    ("a list", "[1, 2]", "not a record"),
    ("a text", '"hello"', "not a record"),
    ("null", "null", "not a record"),
    ("cut short", '{"scene_id": "scene01', "not a record"),
    ("nested too deep", deep(100_000), "not a record"),
    ("a key twice", '{"answer": "3", "answer": "4"}', "not a record"),
    ("a number of 5,000 digits", '{"answer": ' + "9" * 5_000 + "}", "not a record"),
    ("single quotes", "{'question': 'a'}", "not a record"),
    ("a comment", "// a comment", "not a record"),
    ("a comma too many", '{"answer": "3",}', "not a record"),
    ("NUL bytes", "\x00" * 1_000, "not a record"),
]
"""A word on it, what differs from the good record (or the line itself), and the reason that it is rejected for."""


@pytest.mark.parametrize(("record", "reason"), [case[1:] for case in RECORDS], ids=[case[0] for case in RECORDS])
def test_a_bad_record_is_rejected_and_touches_no_other(tmp_path: Path, record: Any, reason: str) -> None:
    bad = record if isinstance(record, str) or not record else GOOD | record
    (tmp_path / "a.jsonl").write_text(lines(GOOD, bad, GOOD))
    with bounded():
        first, rejected, last = import_rows(tmp_path / "a.jsonl")
    assert isinstance(rejected, Rejected)
    assert (rejected.where, rejected.reason) == (f"{tmp_path / 'a.jsonl'}, row 2", reason)
    assert first == last
    assert isinstance(first, dict)
    assert (first["reward_model"]["ground_truth"], first["extra_info"]["question"]) == ("3", COUNT)


FIRST = [case for case in RECORDS if case[0] not in ("a list", "NUL bytes")]
"""Those start a file of another kind, which is refused as a whole."""


@pytest.mark.parametrize(("record", "reason"), [case[1:] for case in FIRST], ids=[case[0] for case in FIRST])
def test_a_bad_record_is_rejected_where_it_is_the_first(tmp_path: Path, record: Any, reason: str) -> None:
    bad = record if isinstance(record, str) or not record else GOOD | record
    (tmp_path / "a.jsonl").write_text(lines(bad, GOOD))
    rejected, good = import_rows(tmp_path / "a.jsonl")
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason
    assert isinstance(good, dict)


GZIPPED = gzip.compress(lines(*[GOOD] * 1_000).encode())


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _question_column(array: pa.Array) -> bytes:
    return _parquet(pa.table({"question": array, "answer": pa.array(["3"] * len(array))}))


WHOLE_PARQUET = _parquet(pa.Table.from_pylist([GOOD] * 5_000))
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(b"\x00\x00\x00\x00\x04\x00\x00\x00"), pa.py_buffer(b"\xff\xfe\xff\xfe")]
)

FILES: list[tuple[str, bytes | str, str]] = [
    ("nothing", b"", "the file is empty"),
    ("blanks", b" \n\n\t", "the file is empty"),
    ("a BOM and nothing else", b"\xef\xbb\xbf", "not JSON"),
    ("CSV", "scene,question,answer\nscene0191_00,How many?,3\n", "convert it to one"),
    ("XML", "<rows><row/></rows>", "convert it to one"),
    ("Python", "[{'question': 'a'}]", "convert it to one"),
    ("a number", "5", "expected a list of records"),
    ("a list of numbers", "[1, 2]", "expected a list of records"),
    ("a list of lists", "[[1], [2]]", "expected a list of records"),
    ("two lists", json.dumps({"a": [GOOD], "b": [GOOD]}, indent=1), "expected a list of records"),
    ("a document nested too deep", "[" * 200_000, "nested too deep"),
    ("a document that ends early", json.dumps([GOOD] * 10, indent=1)[:-40], "was the file cut short?"),
    ("a document with a key twice", '[{"answer": 1,\n "answer": 2}]', "key 'answer' twice"),
    ("Latin-1", json.dumps([{"question": "café"}], ensure_ascii=False).encode("latin-1"), "iconv -f LATIN1"),
    ("UTF-16 cut in a character", lines(GOOD).encode("utf-16")[:-1], "write it as UTF-8"),
    ("gzip cut short", GZIPPED[: len(GZIPPED) // 2], "compressed file is damaged"),
    ("gzip with a flipped bit", GZIPPED[:40] + bytes([GZIPPED[40] ^ 64]) + GZIPPED[41:], "compressed file is damaged"),
    ("gzip of nothing known", b"\x1f\x8b" + b"\xff" * 100, "compressed file is damaged"),
    ("gzip within gzip", gzip.compress(GZIPPED), "neither parquet, JSON nor JSONL"),
    ("a bomb of one line", gzip.compress(b"\x00" * 2**28, 9), "json_files.MAX_"),
    ("a bomb of blank lines", gzip.compress(b"\n" * 2**27, 9), "json_files.MAX_DOCUMENT, or MAX_GROWTH"),
    ("a bomb in UTF-16", gzip.compress(("x" * 2**26).encode("utf-16"), 9), "json_files.MAX_"),
    ("parquet's mark alone", b"PAR1", "can't be read after row 0"),
    ("parquet cut short", WHOLE_PARQUET[:-500], "can't be read after row 0"),
    ("parquet with a hole", WHOLE_PARQUET[:8] + b"\xff" * 64 + WHOLE_PARQUET[72:], "can't be read after row"),
    ("parquet without rows", _parquet(pa.table({"question": pa.array([], pa.string())})), "the file has no rows"),
    ("parquet without columns", _parquet(pa.table({})), "the file has no rows"),
    ("parquet with a column twice", _parquet(pa.table([pa.array(["a"])] * 2, ["question"] * 2)), "two columns are"),
    ("parquet that is not UTF-8", _question_column(NOT_UTF8), "can't be read after row 0"),
    ("parquet of bytes", _question_column(pa.array([b"\xff"])), "cannot tell which column holds the question"),
    ("parquet of moments", _question_column(pa.array([datetime(2026, 1, 1, tzinfo=timezone.utc)])), "cannot tell"),
    (
        "parquet of moments past all",
        _question_column(pa.array([2**62], pa.timestamp("us"))),
        "can't be read after row 0",
    ),
    ("parquet of decimals", _question_column(pa.array([Decimal("3.5")])), "cannot tell"),
    (
        "a parquet bomb of one value",
        _question_column(pa.DictionaryArray.from_arrays(np.zeros(200_000, np.int32), ["x" * 2**20])),
        "parquet_files.MAX_GROWTH",
    ),
    ("parquet of nulls", _question_column(pa.nulls(3)), "cannot tell which column holds the question"),
    ("parquet of maps", _question_column(pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))), "cannot tell"),
    ("a zip", b"PK\x03\x04" + b"\x00" * 100, "a pickled or packed array"),
    ("zlib", zlib.compress(lines(GOOD).encode()), "neither parquet, JSON nor JSONL"),
    ("noise", bytes(range(256)) * 100, "neither parquet, JSON nor JSONL"),
]
"""A word on it, its content, and what the error says."""


@pytest.mark.parametrize(("content", "message"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_a_bad_file_ends_in_an_error_that_names_it(tmp_path: Path, content: bytes | str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with bounded(), pytest.raises(ValueError, match=message) as error:
        list(import_rows(path))
    assert "a.json" in str(error.value)


RIGHT: list[tuple[str, bytes]] = [
    ("a BOM", b"\xef\xbb\xbf" + lines(GOOD, GOOD).encode()),
    ("UTF-16", lines(GOOD, GOOD).encode("utf-16")),
    ("UTF-16 without a BOM", lines(GOOD, GOOD).encode("utf-16-le")),
    ("UTF-32", lines(GOOD, GOOD).encode("utf-32")),
    ("gzip", gzip.compress(lines(GOOD, GOOD).encode())),
    ("two gzips in a row", gzip.compress(lines(GOOD).encode()) * 2),
    ("gzip of a list", gzip.compress(json.dumps([GOOD, GOOD]).encode())),
    ("Windows' line ends", lines(GOOD, GOOD).replace("\n", "\r\n").encode()),
    ("blank lines", lines(GOOD, "", " ", GOOD, "").encode()),
    ("no line end", lines(GOOD, GOOD).rstrip().encode()),
    ("a list in one line", json.dumps([GOOD, GOOD]).encode()),
    ("a list with one record a line", ("[\n" + ",\n".join([json.dumps(GOOD)] * 2) + "\n]").encode()),
    ("an object around the list", json.dumps({"data": [GOOD, GOOD]}).encode()),
    ("parquet", _parquet(pa.Table.from_pylist([GOOD] * 2))),
    (
        "parquet of dictionaries",
        _parquet(pa.table({k: pa.array([v] * 2).dictionary_encode() for k, v in GOOD.items()})),
    ),
    ("parquet of views", _parquet(pa.table({k: pa.array([v] * 2, pa.large_string()) for k, v in GOOD.items()}))),
    ("numbers as numbers", lines(*[GOOD | {"answer": 3}] * 2).encode()),
    ("numbers with a point", lines(*[GOOD | {"answer": "3."}] * 2).encode()),
]


@pytest.mark.parametrize("content", [case[1] for case in RIGHT], ids=[case[0] for case in RIGHT])
def test_an_odd_file_of_good_records_gives_the_same_rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.anything").write_bytes(content)
    (tmp_path / "plain.jsonl").write_text(lines(GOOD, GOOD))
    with bounded():
        assert list(import_rows(tmp_path / "a.anything")) == list(import_rows(tmp_path / "plain.jsonl"))


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["dir", "FIFO", "loop"]
)
@pytest.mark.parametrize(
    "read", [import_rows, benchmark_rows, read_meta_info, read_scenes, iter_rows, read_fingerprint]
)
def test_what_is_no_file_is_named(tmp_path: Path, make: Callable[[Path], Any], read: Callable[[Path], Any]) -> None:
    make(tmp_path / "a.json")
    with bounded(), pytest.raises((OSError, ValueError), match=r"a\.json"):
        list(read(tmp_path / "a.json"))


def test_a_line_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(GOOD, GOOD).encode() + b"x" * (2**26 + 2))
    with bounded(), pytest.raises(ValueError, match=r"a\.jsonl: it is beyond json_files\.MAX_LINE"):
        list(import_rows(tmp_path / "a.jsonl"))


def test_what_is_written_holds_the_good_and_names_the_bad(tmp_path: Path) -> None:
    """All of the table in one file: the import ends in parquet, with one line a rejection."""
    records = [record if isinstance(record, str) else GOOD | record for _, record, _ in RECORDS]
    (tmp_path / "a.jsonl").write_text(lines(*(part for bad in records for part in (GOOD, bad))))
    outcome = write_outcome(tmp_path / "a.parquet", import_rows(tmp_path / "a.jsonl"), {})
    assert audit(iter_rows(outcome.path)).rows >= len(RECORDS)
    assert outcome.rejected is not None
    rejected = [json.loads(line) for line in outcome.rejected.read_text().splitlines()]
    assert [int(line["where"].rpartition(" ")[2]) % 2 for line in rejected] == [0] * len(rejected)
    assert all(line["reason"] for line in rejected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in items:
        yield from _paths(member, (*path, key))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn, record: dict[str, Any]) -> Any:
    """The record with one or two of its values, however deep, replaced by anything."""
    for _ in range(draw(st.integers(1, 2))):
        record = _replaced(record, draw(st.sampled_from(list(_paths(record)))), draw(JSON))
        if not isinstance(record, dict):
            break
    return record


BOX = {"centroid": [0.0, 1.0, 0.5], "axesLengths": [2.0, 1.0, 0.5], "normalizedAxes": [0, 1, 0, -1, 0, 0, 0, 0, 1]}
META_INFO = {"dataset": "scannet", "room_size": 12.5, "object_counts": {"bed": 1}, "object_bbox": {"bed": [BOX]}}
SCENE = to_record(make_room(0, 0).scene)
SCENE["boxes"] = SCENE["boxes"][:2]
SCENE["visible"] = None  # of all boxes
BENCH = {
    "id": 7, "dataset": "scannet", "scene_name": "scene0025_01", "question_type": "object_rel_distance",
    "question": "Which?", "ground_truth": "A", "options": ["A. bed", "B. sink"],
}  # fmt: skip
CHAT = {"id": "scene0191_00", "conversations": [{"from": "human", "value": COUNT}, {"from": "gpt", "value": "3"}]}
ROW = make_row(
    Question("object_counting", COUNT, "3", "number", "scene0191_00", trace={"rule": "r"}),
    dataset="scannet", video="scannet/scene0191_00.mp4", data_source="vsi100k", split="train",
)  # fmt: skip


def _neighbours(path: Path, read: Callable[[Path], Any], good: Any, bad: Any, document: bool = False) -> None:
    """Whatever stands between two good records, both come out; what stands there gives one item or an error."""
    path.write_text(json.dumps({"a": good, "b": bad, "c": good}) if document else lines(good, json.dumps(bad), good))
    with bounded():
        items = list(read(path))
    assert len(items) == 3
    assert not isinstance(items[0], Rejected)
    assert not isinstance(items[2], Rejected)
    if isinstance(items[1], Rejected):
        assert items[1].reason
        assert items[1].where


def _check_mutations(path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["import", "chat", "bench", "scenes", "meta", "row"]))
    good = {"import": GOOD, "chat": CHAT, "bench": BENCH, "scenes": SCENE, "meta": META_INFO, "row": ROW}[kind]
    bad = data.draw(mutated(good))
    if kind == "row":
        problem = row_problem(bad) if isinstance(bad, dict) else "no row"
        assert problem is None or problem
        return
    if kind == "bench" and isinstance(bad, dict) and not BENCH.keys() <= bad.keys():
        return  # another file's: refused as a whole
    read = {"import": import_rows, "chat": import_rows, "bench": benchmark_rows, "scenes": read_scenes}
    _neighbours(path, read.get(kind, read_meta_info), good, bad, document=kind == "meta")


FUZZ = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)


@given(data=st.data())
@settings(FUZZ, max_examples=150)
def test_mutated_records_touch_no_other(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    _check_mutations(tmp_path_factory.getbasetemp() / "mutated.json", data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(data=st.data())
@settings(FUZZ, max_examples=3_000)
def test_three_thousand_mutated_records_touch_no_other(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    _check_mutations(tmp_path_factory.getbasetemp() / "mutated.json", data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), length=st.integers(1, 16))
@settings(FUZZ, max_examples=500)
def test_flipped_bytes_of_a_file_of_rows_end_in_rows_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.parquet"
    rows = [make_row(Question("object_counting", COUNT, str(n), "number", "s"), dataset="d", video="d/s.mp4",
                     data_source="vsi100k", split="train") for n in range(1, 50)]  # fmt: skip
    write_rows(path, rows, {})
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place : place + length] = bytes([byte]) * min(length, len(content) - place)
    path.write_bytes(bytes(content))
    message = path.name
    with bounded():
        try:
            audit(iter_rows(path))
            read_fingerprint(path)
        except ValueError as error:
            message = str(error)
    assert path.name in message


def test_scenes_that_are_read_are_scenes(tmp_path: Path) -> None:
    """The good records of the mutations are what they are meant to be."""
    (tmp_path / "a.jsonl").write_text(lines(SCENE))
    (tmp_path / "a.json").write_text(json.dumps({"a": META_INFO}))
    for read, name in ((read_scenes, "a.jsonl"), (read_meta_info, "a.json")):
        assert all(isinstance(scene, Scene) for scene in read(tmp_path / name))
