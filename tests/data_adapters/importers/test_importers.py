"""Question files of others: recognised by content, or refused with what to do; nothing lost without a word."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_vsi.data_adapters.importers import import_rows
from verl_vsi.data_adapters.importers.convert import clean_answer, clean_question
from verl_vsi.data_adapters.importers.options import split_options
from verl_vsi.data_adapters.rows import read_rows
from verl_vsi.data_adapters.schema import Rejected
from verl_vsi.data_adapters.vsi100k import write_outcome

SIZE = (
    "What is the length of the longest dimension (length,width, or height) of the coffee table, "
    "measured in centimeters?"
)
DISTANCE = "What is the distance between the shower and the kitchen counter (in meters)?"
COUNT = "How many trash can(s)in the room?"
NEAR = "Which of these objects (sink, pillow, bed, guitar)is the closest to the bicycle?"
SIDE = "If I am standing by the shelf and facing the shower is the bicycle to the left or the right of the shower?"
TRAIN = "scene0191_00"
VAL, BENCHMARK = "scene0011_00", "scene0025_01"


def _write(path: Path, records: list[Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    else:
        path.write_text(json.dumps(records, indent=1))
    return path


def _import(path: Path, **settings) -> tuple[list[dict[str, Any]], list[Rejected]]:
    items = list(import_rows(path, **settings))
    return [i for i in items if not isinstance(i, Rejected)], [i for i in items if isinstance(i, Rejected)]


SHAPES = {
    "question and answer columns": {"scene_id": TRAIN, "question": COUNT, "answer": "3"},
    "a number as answer": {"scene_id": TRAIN, "question": COUNT, "answer": 3},
    "VSI-Bench's own columns": {
        "scene_name": TRAIN,
        "question_type": "object_counting",
        "question": COUNT,
        "ground_truth": "3",
    },
    "R1-V's problem and solution": {
        "problem": COUNT,
        "solution": "<answer> 3 </answer>",
        "video": f"/data/{TRAIN}.mp4",
    },
    "LLaVA's conversations": {
        "id": 7,
        "video": f"scannet/{TRAIN}.mp4",
        "conversations": [{"from": "human", "value": f"<video>\n{COUNT}"}, {"from": "gpt", "value": "3"}],
    },
    "messages": {
        "messages": [{"role": "user", "content": f"<video>{COUNT}"}, {"role": "assistant", "content": "3"}],
        "videos": [f"videos/{TRAIN}.mp4"],
    },
    "messages of typed parts": {
        "messages": [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": [{"type": "video", "text": None}, {"type": "text", "text": COUNT}]},
            {"role": "assistant", "content": [{"type": "text", "text": "3"}]},
        ],
        "video": f"{TRAIN}.mp4",
    },
    "a list of frames": {
        "question": COUNT,
        "answer": "3",
        "images": [f"scans/{TRAIN}/color/{i}.jpg" for i in range(3)],
    },
    "a scene that only the id names": {"id": f"{TRAIN}_count_4", "question": COUNT, "answer": "3"},
    "a mode's prompt at the end": {
        "scene": TRAIN,
        "question": f"{COUNT}\nPlease provide the short answer with one or two words or a number.",
        "answer": "3",
    },
}


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("record", SHAPES.values(), ids=SHAPES.keys())
def test_every_common_shape_gives_the_same_row(tmp_path: Path, record, suffix: str):
    if suffix == ".parquet" and "messages" in record and isinstance(record["messages"][-1]["content"], list):
        record = record | {"messages": record["messages"][1:]}  # a column has one type
    (row,), rejected = _import(_write(tmp_path / f"a{suffix}", [record]))
    assert rejected == []
    assert row["data_source"] == "vsi100k/object_counting"
    assert row["prompt"] == [{"role": "user", "content": f"<video>{COUNT}"}]
    assert row["videos"] == [f"scannet/{TRAIN}.mp4"]
    assert row["reward_model"]["ground_truth"] == "3"
    assert (row["extra_info"]["scene_id"], row["extra_info"]["dataset"]) == (TRAIN, "scannet")


@pytest.mark.parametrize("wrapped", [{"data": None}, {"version": 1, "questions": None}])
def test_a_json_object_around_the_list_is_opened(tmp_path: Path, wrapped: dict):
    records = [{"scene": TRAIN, "question": COUNT, "answer": "3"}]
    (tmp_path / "a.json").write_text(json.dumps({k: v or records for k, v in wrapped.items()}, indent=2))
    assert len(_import(tmp_path / "a.json")[0]) == 1


@pytest.mark.parametrize(
    ("question", "answer", "task", "kind"),
    [
        (COUNT, "3", "object_counting", "number"),
        (DISTANCE, "6.1", "object_abs_distance", "number"),
        (NEAR, "sink", "object_rel_distance", "word"),
        (SIDE, "left", "object_rel_direction_easy", "word"),
        (SIZE, "113", "object_size_estimation", "number"),
        ("What is the size of this room (in square meters)?", "47.9", "room_size_estimation", "number"),
    ],
)
def test_the_paper_s_six_tasks_are_told_by_their_words(tmp_path: Path, question, answer, task, kind):
    (row,), _ = _import(_write(tmp_path / "a.json", [{"scene": TRAIN, "question": question, "answer": answer}]))
    info = row["extra_info"]
    assert (info["task"], info["kind"], info["question"]) == (task, kind, question)
    assert row["reward_model"]["ground_truth"] == answer


@pytest.mark.parametrize(
    ("options", "answer", "question", "kind", "truth", "offered"),
    [
        (["A. sink", "B. bed"], "B", "Which?", "choice", "B", ["A. sink", "B. bed"]),
        (["sink", "bed"], "bed", "Which?", "choice", "B", ["A. sink", "B. bed"]),  # text to letter
        (["(A) sink", "(B) bed"], "(b) bed", "Which?", "choice", "B", ["A. sink", "B. bed"]),
        (["A. sink", "B. bed"], "A. bed", "Which?", "choice", None, None),  # letter and words disagree
        (["A. sink", "B. bed"], "C", "Which?", "choice", None, None),
        ([], "B", "Which?\nOptions:\nA. sink\nB. bed", "choice", "B", ["A. sink", "B. bed"]),  # SpaceR's
        ([], "bed", "Which?\n\n(A) sink\n\n(B) bed", "choice", "B", ["A. sink", "B. bed"]),
        ([], "B.", "Which? Options: A. sink B. bed", "choice", "B", ["A. sink", "B. bed"]),
        ([], "A", "Which? A) sink, B) bed", "choice", "A", ["A. sink", "B. bed"]),
        (["A. sink", "B. bed"], "B", "Which?\nA. sink\nB. bed", "choice", "B", ["A. sink", "B. bed"]),  # said twice
        ("A. sink\nB. bed", "B", "Which?", "choice", "B", ["A. sink", "B. bed"]),  # one text
        ({"A": "sink", "B": "bed"}, "a", "Which?", "choice", "A", ["A. sink", "B. bed"]),
        (["sink", "pillow", "bed", "guitar"], "sink", NEAR, "word", "sink", []),  # they stand in the question
    ],
)
def test_options_come_lettered_and_the_answer_is_a_letter(
    tmp_path: Path, options, answer, question, kind, truth, offered
):
    record = {"scene": TRAIN, "question": question, "options": options, "answer": answer, "task": "object_rel_distance"}
    rows, rejected = _import(_write(tmp_path / "a.json", [record]))
    if truth is None:
        assert "is none of the options" in rejected[0].reason
        return
    assert rows[0]["extra_info"]["question"] in ("Which?", NEAR)  # the dataset class adds the options
    assert (rows[0]["extra_info"]["kind"], rows[0]["reward_model"]["ground_truth"]) == (kind, truth)
    assert rows[0]["extra_info"]["options"] == offered


@pytest.mark.parametrize(
    "tail",
    [
        "\nA. sink\nB. bed",
        "\nOptions:\n\nA. sink\n\nB. bed\n",
        "\nThe options are:\nA. sink\nB. bed",
        "\nOptions: (A) sink\n(B) bed",
        "\r\nA. sink\r\nB. bed",
        "\n- A. sink\n- B. bed",
        "\n**A.** sink\n**B.** bed",
        "\na. sink\nb. bed",
        "\n[A] sink\n[B] bed",
        "\nA - sink\nB - bed",
        "\nA、sink\nB、bed",
        " (A) sink (B) bed",
        " Choices: (A) sink; (B) bed",
        "\tA. sink\tB. bed",
        " A. sink or B. bed",
        "\nA. sink\nB. bed\nAnswer with the option's letter from the given choices directly.",
        "\nA. sink\nB. bed\nPlease answer with one letter.",
    ],
)
def test_options_within_the_question_are_told_in_every_form(tail: str):
    assert split_options(clean_question(f"Which is closest?{tail}")) == ("Which is closest?", ("A. sink", "B. bed"))


@pytest.mark.parametrize(
    "text",
    [
        "Is it a. or b?",
        "Where is J. K. Rowling's book?",
        "I stand by the A. C. unit",
        "Plan A: go. Plan B: stay?",
        NEAR,
    ],
)
def test_letters_of_prose_are_no_options(text: str):
    assert split_options(text) == (text, ())


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        ({"answer": ""}, "no answer", COUNT),
        ({"answer": None}, "no answer", COUNT),
        ({"question": ""}, "no question", ""),
        ({"answer": "three"}, "is not a number", "'three' is not a number"),
        ({"answer": "nan"}, "is not a number", "nan"),
        ({"scene": None}, "no scene", "--map scene=COLUMN"),
        ({"question": "What is love?"}, "task not recognised", "--map task=COLUMN"),
        ({"scene": None, "video": "../../etc/a.mp4"}, "leaves the data root", "../../etc/a.mp4"),
        ({"scene": VAL}, "ScanNet val scan", VAL),
        ({"scene": BENCHMARK}, "scene of VSI-Bench", BENCHMARK),
        ({"scene": None, "video": f"my/copy/of/{BENCHMARK}_color.mp4"}, "scene of VSI-Bench", BENCHMARK),
        ({"scene": "41069025"}, "scene of VSI-Bench", "41069025"),  # ARKitScenes
        ({"scene": "09c1414f1b"}, "scene of VSI-Bench", "09c1414f1b"),  # ScanNet++
        ({"scene": "my_room", "video": f"my/{BENCHMARK.upper()}.mp4"}, "scene of VSI-Bench", BENCHMARK),
        ({"scene": "my_room", "images": ["a/0.jpg", f"{BENCHMARK}/0.jpg"]}, "scene of VSI-Bench", BENCHMARK),
        ({"scene": TRAIN, "video": "scannet/scene0200_00.mp4"}, "scene and video disagree", "scene0200_00"),
        ({"scene": None, "images": ["a/0.jpg", "b/0.jpg"]}, "frames lie in several folders", "a, b"),
        ({"question": DISTANCE, "answer": "0"}, "cannot be true", "above 0"),
        ({"question": DISTANCE, "answer": "-1.5"}, "cannot be true", "above 0"),
        ({"question": SIZE, "answer": "4916"}, "is implausible", "at most 2500 cm"),  # a nightstand of 49 m
        ({"question": NEAR, "answer": "A"}, "is a letter, and no options are given", "--map options=COLUMN"),
        ({"question": NEAR, "answer": "the sink"}, "is unreachable", "reads 'sink'"),
        ({"question": COUNT + "\x1b[2J"}, "control character", "clean the texts"),
        ({"question": COUNT + "\ud800"}, "control character", "clean the texts"),
        ({"question": COUNT * 1000}, "is too long", "LONGEST_TEXT"),
        ({"options": [None, "A"]}, "cannot be scored", "options must be texts"),
    ],
)
def test_a_bad_record_is_rejected_with_row_and_reason(tmp_path: Path, record, reason: str, detail: str):
    good = {"scene": TRAIN, "video": None, "question": COUNT, "answer": "3"}
    rows, (bad,) = _import(_write(tmp_path / "a.jsonl", [good, good | record, good]))
    assert len(rows) == 2
    assert (bad.where, bad.reason) == (f"{tmp_path / 'a.jsonl'}, row 2", reason)
    assert detail in bad.detail


@pytest.mark.parametrize(
    ("record", "place"),
    [
        ({"video": "data/0a1b2c3d4e/iphone/rgb.mkv"}, ("0a1b2c3d4e", "scannetpp", "scannetpp/0a1b2c3d4e.mp4")),
        (
            {"images": [f"raw/Training/40753679/lowres_wide/{i}.png" for i in range(3)]},
            ("40753679", "arkitscenes", "arkitscenes/40753679.mp4"),
        ),
        ({"video": "arkitscenes_40753679.mp4"}, ("40753679", "arkitscenes", "arkitscenes/40753679.mp4")),
        ({"video": "SCENE0191-00.MP4"}, (TRAIN, "scannet", f"scannet/{TRAIN}.mp4")),
        ({"video": "mine/kitchen/rgb.mp4"}, ("kitchen", "mine", "mine/kitchen/rgb.mp4")),
        ({"images": ["mine/hall/0.jpg", "mine/hall/1.jpg"]}, ("hall", "mine", "mine/hall")),  # not one picture of them
        ({"scene": "hall_2", "video": "mine/x.mp4"}, ("hall_2", "mine", "mine/x.mp4")),
        ({"scene": "hall_2", "dataset": "mine"}, ("hall_2", "mine", "mine/hall_2.mp4")),
    ],
)
def test_scene_and_video_follow_from_the_path(tmp_path: Path, record, place):
    rows, rejected = _import(_write(tmp_path / "a.json", [{"question": COUNT, "answer": "3"} | record]))
    assert rejected == []
    (row,) = rows
    assert (row["extra_info"]["scene_id"], row["extra_info"]["dataset"], row["videos"][0]) == place


GOOD = {"scene": TRAIN, "question": COUNT, "answer": "3"}


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("[1, 2]", "expected a JSON object, got a list"),
        ("3", "got a number"),
        ("null", "got null"),
        (json.dumps(GOOD)[:30], "was the file cut short?"),
        ("[" * 100_000, "nested too deep"),
        ('{"answer": "3", "answer": "4"}', "key 'answer' twice"),
        ('{"answer": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_line_that_is_no_record_is_rejected_by_itself(tmp_path: Path, line: str, detail: str):
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps(GOOD), line, json.dumps(GOOD)]))
    rows, (bad,) = _import(tmp_path / "a.jsonl")
    assert len(rows) == 2
    assert (bad.where, bad.reason) == (f"{tmp_path / 'a.jsonl'}, row 2", "not a record")
    assert detail in bad.detail


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_unicode_is_read_packed_or_not(tmp_path: Path, encoding: str, packed: bool, lines: bool):
    record = GOOD | {"question": "How many tables à café(s)in the room?"}
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for _ in range(3))
    content = (text if lines else json.dumps([record] * 3, ensure_ascii=False, indent=1)).encode(encoding)
    (tmp_path / "a.json").write_bytes(gzip.compress(content) if packed else content)
    rows, rejected = _import(tmp_path / "a.json")
    assert rejected == []
    assert [row["extra_info"]["question"] for row in rows] == [record["question"]] * 3


def test_another_encoding_is_named_with_the_way_out_and_spoils_no_other_line(tmp_path: Path):
    latin = json.dumps(GOOD | {"question": "How many cafés(s)?"}, ensure_ascii=False).encode("latin-1")
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([json.dumps(GOOD).encode(), latin, json.dumps(GOOD).encode()]))
    rows, (bad,) = _import(tmp_path / "a.jsonl")
    assert len(rows) == 2
    assert "not UTF-8" in bad.detail
    assert "iconv -f LATIN1 -t UTF-8" in bad.detail
    (tmp_path / "b.json").write_bytes(b"[" + latin + b"]")
    with pytest.raises(ValueError, match=r"b\.json: not JSON .*iconv"):
        _import(tmp_path / "b.json")


def test_a_truth_that_another_extraction_cannot_reach_is_rejected(tmp_path: Path):
    path = _write(tmp_path / "a.json", [GOOD | {"question": NEAR, "answer": "trash can"}])
    assert len(_import(path)[0]) == 1
    _, (bad,) = _import(path, extraction="official")
    assert "'official' reads 'trash'" in bad.detail


def test_the_paper_s_set_comes_in_whole_when_asked_for(tmp_path: Path):
    records = [{"scene": s, "question": COUNT, "answer": "3"} for s in (TRAIN, VAL, BENCHMARK)]
    assert len(_import(_write(tmp_path / "a.json", records), published=True)[0]) == 3


def test_rejected_rows_lie_beside_the_output_and_are_summed_up(tmp_path: Path):
    records = [
        {"scene": s, "question": COUNT, "answer": a} for s, a in ((TRAIN, "3"), (TRAIN, ""), (VAL, "1"), (VAL, "2"))
    ]
    items = import_rows(_write(tmp_path / "a.json", records))
    outcome = write_outcome(tmp_path / "out.parquet", items, {"source": "a.json"})
    assert outcome.reasons == {"ScanNet val scan": 2, "no answer": 1}
    assert outcome.rejected is not None
    assert outcome.rejected == tmp_path / "out.rejected.jsonl"
    listed = [json.loads(line) for line in outcome.rejected.read_text().splitlines()]
    assert [line["where"].rsplit(", ", 1)[1] for line in listed] == ["row 2", "row 3", "row 4"]
    assert len(read_rows(outcome.path)) == 1
    write_outcome(tmp_path / "out.parquet", import_rows(_write(tmp_path / "a.json", records[:1])), {})
    assert not outcome.rejected.exists()  # a clean build leaves no old list behind


def test_where_nothing_is_left_the_list_says_why(tmp_path: Path):
    path = _write(tmp_path / "a.json", [{"scene": VAL, "question": COUNT, "answer": "3"}])
    with pytest.raises(ValueError, match="no rows to write"):
        write_outcome(tmp_path / "out.parquet", import_rows(path), {})
    assert "ScanNet val scan" in (tmp_path / "out.rejected.jsonl").read_text()
    assert not (tmp_path / "out.parquet").exists()


def test_an_unknown_shape_shows_columns_a_row_and_the_option_to_set(tmp_path: Path):
    path = _write(tmp_path / "a.json", [{"Frage": COUNT, "Antwort": "3", "Raum": TRAIN}])
    with pytest.raises(ValueError, match="cannot tell which column holds the question") as error:
        _import(path)
    message = str(error.value)
    assert "columns: Frage, Antwort, Raum" in message
    assert f'"Frage": "{COUNT}"' in message
    assert "--map question=COLUMN" in message
    mapping = {"question": "Frage", "answer": "Antwort", "scene": "Raum"}
    assert len(_import(path, mapping=mapping)[0]) == 1
    with pytest.raises(ValueError, match=r"no column 'frage'\ncolumns: Frage"):
        _import(path, mapping={"question": "frage"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("[]", "the file has no rows"),
        ("[1, 2]", "expected a list of records"),
        ("hello", "neither parquet, JSON nor JSONL"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        _import(tmp_path / "a.json")


def test_an_empty_parquet_and_a_missing_file_are_named(tmp_path: Path):
    pq.write_table(pa.table({"question": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: the file has no rows"):
        _import(tmp_path / "a.parquet")
    with pytest.raises(FileNotFoundError, match="no such file"):
        _import(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<video>\nHow many?", "How many?"),
        ("<image><image>How many?", "How many?"),
        ("How many?\nPlease answer the question using a single word or phrase.", "How many?"),
        ("How many? Please think step by step and enclose your thinking process in <think> tags.", "How many?"),
        ("Please how many?", "Please how many?"),  # not a mode's prompt
    ],
)
def test_questions_lose_marks_and_prompts(text: str, clean: str):
    assert clean_question(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"), [("3", "3"), ("<answer> 3 </answer>", "3"), ("left.", "left"), ("6.1", "6.1")]
)
def test_answers_lose_tags_and_a_full_stop(text: str, clean: str):
    assert clean_answer(text) == clean
