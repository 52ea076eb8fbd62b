"""The benchmark's scenes stay out of training."""

import pytest

from verl_vsi.data_adapters.leakage import benchmark_scenes, ids_and_paths, leak, leaks, reject_leaks, scannet_split
from verl_vsi.data_adapters.schema import Rejected, Scene
from verl_vsi.data_adapters.synthetic_rooms import make_room


def _scene(name: str, dataset: str = "scannet") -> Scene:
    room = make_room(0, 1).scene
    return Scene(name, dataset, f"{dataset}/{name}.mp4", 20.0, room.boxes, room.counts)


def test_the_lists_are_the_published_ones():
    datasets = list(benchmark_scenes().values())
    assert {name: datasets.count(name) for name in set(datasets)} == {
        "arkitscenes": 150,
        "scannet": 88,
        "scannetpp": 50,
    }
    assert (len(scannet_split("train")), len(scannet_split("val"))) == (1201, 312)
    assert not scannet_split("train") & scannet_split("val")
    scannet = {scene for scene, dataset in benchmark_scenes().items() if dataset == "scannet"}
    assert scannet <= scannet_split("val")  # which is why the paper's set probably leaks


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        ("scene0025_01", "scene of VSI-Bench"),
        ("scene0011_00", "ScanNet val scan"),
        ("scene0191_00", None),  # a train scan
        ("room_0_000001", None),
        ("09c1414f1b", "scene of VSI-Bench"),  # ScanNet++
    ],
)
@pytest.mark.parametrize("dataset", ["scannet", "rooms", "my_copy"])
def test_a_leak_is_told_by_the_scene_whatever_the_source(scene: str, reason: str | None, dataset: str):
    assert leak(scene) == reason
    (item,) = reject_leaks([_scene(scene, dataset)])
    assert item.reason == reason if isinstance(item, Rejected) else reason is None
    (item,) = reject_leaks([_scene(scene, dataset)], published=True)
    assert isinstance(item, Scene)


BENCHMARK = "scene of VSI-Bench"
VAL = "ScanNet val scan"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # the datasets' own layouts
        ("data/09c1414f1b/iphone/rgb.mkv", BENCHMARK),
        ("data/09c1414f1b/dslr/resized_images/DSC0001.JPG", BENCHMARK),
        ("raw/Validation/41069025/lowres_wide/41069025_305.100.png", BENCHMARK),
        ("3dod/Validation/41069025/41069025_frames/lowres_wide", BENCHMARK),
        ("scans/scene0025_01/scene0025_01.sens", BENCHMARK),
        ("scannet/scene0025_01.mp4", BENCHMARK),
        ("scans_val/scene0011_00/color/0.jpg", VAL),
        # others' names
        ("41069025_frames.mp4", BENCHMARK),
        ("scannetpp_09c1414f1b.mp4", BENCHMARK),
        ("arkitscenes_41069025", BENCHMARK),
        ("video09c1414f1b.mp4", BENCHMARK),
        ("clip-09c1414f1b-part2.mp4", BENCHMARK),
        ("SCENE0025_01", BENCHMARK),
        ("Scene0025-01", BENCHMARK),
        ("scene0025 01", BENCHMARK),
        ("scene_0025_01", BENCHMARK),
        ("scene0025_01_vh_clean_2", BENCHMARK),
        ("scene0025_01 ", BENCHMARK),
        ("09C1414F1B", BENCHMARK),
        ("scene0025%5F01.mp4", BENCHMARK),
        ("C:\\data\\scene0025_01\\rgb.mp4", BENCHMARK),
        ("\uff53\uff43\uff45\uff4e\uff450025_01", BENCHMARK),  # full-width letters
        ("\u0455\u0441\u0435\u043f\u04350025_01", BENCHMARK),  # Cyrillic look-alikes
        ("scene0025\u200b_01", BENCHMARK),  # a space of no width
        ("scene0025\u201301", BENCHMARK),  # an en dash
        ("scene\u0660\u0660\u0662\u0665_01", BENCHMARK),  # Arabic digits
        ("scannet/scene0025.mp4", VAL),  # a val room, whichever scan
        ("scene0025_09", VAL),
        # what is not theirs
        ("scene0191_00", None),
        ("mine/scene0025.mp4", None),  # others number their scenes, too
        ("scene0025_011", None),
        ("1410690251.mp4", None),  # a time stamp
        ("room_0_000001", None),
        ("obscene0191_00", None),
        ("", None),
    ],
)
def test_names_are_seen_in_every_layout_and_spelling(text: str, reason: str | None):
    assert leak(text) == reason


def test_every_scene_of_the_benchmark_is_seen_in_its_dataset_s_layouts():
    layouts = {
        "scannet": ("scans/{}/{}.sens", "{}_vh_clean.mp4", "frames/{}/color/0.jpg"),
        "scannetpp": ("data/{}/iphone/rgb.mkv", "scannetpp_{}.mp4", "{}/dslr/0.jpg"),
        "arkitscenes": ("raw/Validation/{}/lowres_wide/0.png", "arkitscenes_{}", "{}_frames.mp4"),
    }
    for name, dataset in benchmark_scenes().items():
        for layout in layouts[dataset]:
            for text in (layout.format(name, name), layout.format(name, name).upper()):
                assert list(leaks([text])) == [name]


@pytest.mark.parametrize(
    "record",
    [
        {"scene_id": "my_room", "video": "scannet/scene0025_01.mp4"},
        {"scene_id": None, "videos": ["a/0.mp4", "scannet/scene0025_01.mp4"]},
        {"id": "scene0025_01_count_4"},
        {"video_id": 41069025},
        {"frames": [{"image": "scene0025_01/0.jpg"}, {"image": "x/1.jpg"}]},
        {"extra_info": {"scene_id": " scene0025_01 and more", "index": 3}},
        {"messages": [{"content": [{"type": "video", "video": "scene0025_01.mp4"}]}]},
        {"meta": '{"source": "scans/scene0025_01"}'},
    ],
)
def test_ids_and_paths_are_looked_at_wherever_they_stand(record: dict):
    assert list(leaks(ids_and_paths(record)).values()) == [BENCHMARK]


def test_prose_and_numbers_are_not_ids():
    record = {"question": "Is scene0025_01 large?", "answer": "41069025 cm", "count": 41069025, "note": None}
    assert leaks(ids_and_paths(record)) == {}


def test_a_scene_is_kept_out_by_its_video_too():
    room = make_room(0, 1).scene
    (item,) = reject_leaks([Scene("mine", "mine", "mine/scene0025_01.mp4", 20.0, room.boxes, room.counts)])
    assert isinstance(item, Rejected)
    assert (item.where, item.reason) == ("mine", BENCHMARK)
