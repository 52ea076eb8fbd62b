"""The benchmark's scenes stay out of training."""

import pytest

from verl_vsi.data_adapters.leakage import benchmark_scenes, leak, reject_leaks, scannet_split
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
