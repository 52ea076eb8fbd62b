"""VSI-Bench's files to rows, and its zips to videos that stay under the data root."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_vsi.data_adapters.schema import Rejected
from verl_vsi.data_adapters.vsibench_download import benchmark_rows, extract_videos, read_benchmark, read_ids

COUNT = {
    "id": 0,
    "dataset": "arkitscenes",
    "scene_name": "41069025",
    "question_type": "object_counting",
    "question": "How many table(s) are in this room?",
    "ground_truth": "4",
    "options": None,
}
NEAR = {
    "id": 1,
    "dataset": "scannet",
    "scene_name": "scene0025_01",
    "question_type": "object_rel_direction_medium",
    "question": "If I am standing by the bed and facing the tv, is the sofa to my left, right, or back?",
    "ground_truth": "C",
    "options": ["A. left", "B. right", "C. back"],
}


def _write(path: Path, records: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


@pytest.mark.parametrize("name", ["test.jsonl", "test-00000-of-00001.parquet"])
def test_records_become_rows_with_bare_question_and_options(tmp_path: Path, name: str):
    first, second = benchmark_rows(_write(tmp_path / name, [COUNT, NEAR]))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["data_source"] == "vsibench/object_counting"
    assert first["videos"] == ["arkitscenes/41069025.mp4"]
    assert first["prompt"] == [{"role": "user", "content": "<video>How many table(s) are in this room?"}]
    assert (first["extra_info"]["kind"], first["extra_info"]["split"]) == ("number", "test")
    assert json.loads(first["extra_info"]["trace"])["id"] == 0
    assert (second["extra_info"]["kind"], second["reward_model"]["ground_truth"]) == ("choice", "C")
    assert second["extra_info"]["options"] == NEAR["options"]
    assert "A. left" not in second["prompt"][0]["content"]  # evaluation adds options and prompt


@pytest.mark.parametrize(("subset", "ids"), [("full", [0, 1]), ("debiased", [1]), ("pruned", [0])])
@pytest.mark.parametrize("by", ["column", "file"])
def test_subsets_follow_the_column_or_the_list_of_ids(tmp_path: Path, subset: Any, ids: list[int], by: str):
    column = [{"pruned": True}, {"pruned": False}] if by == "column" else [{}, {}]
    path = _write(tmp_path / "test.jsonl", [COUNT | column[0], NEAR | column[1]])
    (tmp_path / "pruned_ids.txt").write_text("0\n17\n")
    pruned = read_ids(tmp_path / "pruned_ids.txt") if by == "file" else None
    rows = benchmark_rows(path, subset, pruned)
    assert [json.loads(r["extra_info"]["trace"])["id"] for r in rows if isinstance(r, dict)] == ids


def test_a_subset_that_nothing_tells_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no column 'pruned'; give pruned_ids\.txt"):
        list(benchmark_rows(_write(tmp_path / "test.jsonl", [COUNT]), "debiased"))


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"question_type": "object_colour"}, "unknown task", "object_colour"),
        ({"ground_truth": None}, "cannot be scored", "ground_truth must be a text, got None"),
        ({"ground_truth": ""}, "cannot be scored", "no answer"),
        ({"dataset": "../x"}, "cannot be scored", "leaves the data root"),
        ({"dataset": None}, "cannot be scored", "dataset must be a text"),
        ({"scene_name": ["a"]}, "cannot be scored", "scene_name must be a text"),
        ({"question": None}, "cannot be scored", "question must be a text, got None"),
        ({"question": 5}, "cannot be scored", "question must be a text, got 5"),
        ({"question": "What?\x00"}, "cannot be scored", "control character"),
        ({"question_type": None}, "unknown task", "None"),
        ({"question_type": ["object_counting"]}, "unknown task", "object_counting"),
        ({"options": "A. left"}, "cannot be scored", "options must be a list of texts"),
        ({"options": ["A. left", None]}, "cannot be scored", "option must be a text"),
        (
            NEAR | {"options": ["A. left", "A. right"], "ground_truth": "A"},
            "cannot be scored",
            "must have one letter each",
        ),
    ],
)
def test_a_record_that_makes_no_row_is_named_by_its_id(tmp_path: Path, changes, reason, detail):
    (bad,) = benchmark_rows(_write(tmp_path / "test.jsonl", [COUNT | changes]))
    assert isinstance(bad, Rejected)
    assert bad.reason == reason
    assert bad.where == f"{tmp_path / 'test.jsonl'}, row 1, question {changes.get('id', 0)}"
    assert detail in bad.detail


def test_another_file_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"download test\.jsonl"):
        list(read_benchmark(tmp_path / "none.jsonl"))
    with pytest.raises(ValueError, match="row 1: column 'id' is missing; it has question"):
        list(read_benchmark(_write(tmp_path / "a.jsonl", [{"question": "?"}])))
    (tmp_path / "cut.jsonl").write_text(json.dumps(COUNT) + '\n{"id"')
    _, (where, cut) = read_benchmark(tmp_path / "cut.jsonl")
    assert isinstance(cut, Rejected)
    assert where.endswith("row 2")
    assert "was the file cut short?" in cut.detail


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_videos_land_in_their_dataset_s_folder_whatever_the_zip_s_own(tmp_path: Path):
    members = {"scannet/a.mp4": b"a", "data/scannet/b.mp4": b"b", "c.mp4": b"c", "scannet/readme.txt": b"no"}
    written = dict(extract_videos(_zip(tmp_path / "scannet.zip", members), tmp_path / "root"))
    assert written == {"scannet/a.mp4": True, "scannet/b.mp4": True, "scannet/c.mp4": True}
    assert {p.name: p.read_bytes() for p in (tmp_path / "root" / "scannet").iterdir()} == {
        "a.mp4": b"a", "b.mp4": b"b", "c.mp4": b"c",
    }  # fmt: skip


def test_a_second_extraction_keeps_whole_files_and_repairs_cut_ones(tmp_path: Path):
    archive = _zip(tmp_path / "scannet.zip", {"scannet/a.mp4": b"aaa", "scannet/b.mp4": b"bbb"})
    list(extract_videos(archive, tmp_path / "root"))
    (tmp_path / "root" / "scannet" / "b.mp4").write_bytes(b"b")
    assert dict(extract_videos(archive, tmp_path / "root")) == {"scannet/a.mp4": False, "scannet/b.mp4": True}
    assert (tmp_path / "root" / "scannet" / "b.mp4").read_bytes() == b"bbb"


@pytest.mark.parametrize("name", ["../../evil.mp4", "/etc/evil.mp4", "scannet/../../evil.mp4", "..\\evil.mp4"])
def test_a_member_that_would_leave_the_root_stops_everything(tmp_path: Path, name: str):
    archive = _zip(tmp_path / "scannet.zip", {"scannet/a.mp4": b"a", name: b"evil"})
    with pytest.raises(ValueError, match="would leave the data root"):
        list(extract_videos(archive, tmp_path / "root"))
    assert not (tmp_path / "root").exists()  # nothing was written before all members were looked at


def test_a_link_in_the_zip_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "scannet.zip", "w") as file:
        link = zipfile.ZipInfo("scannet/a.mp4")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="would leave the data root"):
        list(extract_videos(tmp_path / "scannet.zip", tmp_path / "root"))


def test_a_folder_that_is_a_link_out_of_the_root_is_refused(tmp_path: Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "scannet").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves the data root"):
        list(extract_videos(_zip(tmp_path / "scannet.zip", {"scannet/a.mp4": b"a"}), tmp_path / "root"))


def test_a_damaged_zip_is_named_and_leaves_no_half_video(tmp_path: Path):
    archive = _zip(tmp_path / "scannet.zip", {"scannet/a.mp4": b"a" * 5000})
    content = bytearray(archive.read_bytes())
    content[100] ^= 255
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"scannet\.zip: not a whole zip file"):
        list(extract_videos(archive, tmp_path / "root"))
    assert list((tmp_path / "root" / "scannet").iterdir()) == []
    archive.write_bytes(content[:50])
    with pytest.raises(ValueError, match=r"scannet\.zip: not a whole zip file"):
        list(extract_videos(archive, tmp_path / "root"))
