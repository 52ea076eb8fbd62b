"""The tower sees each video once; a frozen one sees it once ever, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from verl_vsi.sharing.vision import FeatureCache, Visual, Visuals, visuals_of

CPU = torch.device("cpu")


class Tower:
    """Features that say which patches they come from, and a count of what was shown."""

    def __init__(self) -> None:
        self.shown: list[list[tuple[int, ...]]] = []
        self.weight = torch.ones((), requires_grad=True)

    def __call__(self, patches: Tensor, grids: Tensor) -> Tensor:
        self.shown.append([tuple(grid) for grid in grids.tolist()])
        return patches.unflatten(0, (-1, 4)).mean(1) * self.weight


def video(number: int, frames: int = 1) -> dict[str, Tensor]:
    """A row's processor output."""
    return {
        "pixel_values_videos": torch.full((frames * 16, 3), float(number)),
        "video_grid_thw": torch.tensor([[frames, 4, 4]]),
    }


def visuals(rows: Sequence[dict[str, Tensor]], **settings: object) -> Visuals:
    """What prompts with these rows show."""
    return Visuals([item for row in rows for item in visuals_of(row)], 3, CPU, **settings)  # pyright: ignore


def test_one_video_in_two_questions_is_shown_once() -> None:
    tower = Tower()
    features = visuals([video(1), video(2), video(1)]).features(tower)
    assert [len(calls) for calls in tower.shown] == [2]
    assert [feature[0, 0].item() for feature in features.by_kind["video"]] == [1, 2, 1]


def test_videos_and_images_of_a_prompt_are_told_apart() -> None:
    image = {"pixel_values": torch.full((16, 3), 5.0), "image_grid_thw": torch.tensor([[1, 4, 4]])}
    features = visuals([{**video(1, frames=2), **image}]).features(Tower())
    assert [feature.shape for feature in features.by_kind["video"] + features.by_kind["image"]] == [(8, 3), (4, 3)]


@pytest.mark.parametrize("row", [None, {}, {"video_grid_thw": None}])
def test_a_text_shows_nothing_but_calls_the_tower(row: dict[str, Tensor]) -> None:
    tower = Tower()
    features = visuals([row]).features(tower)
    assert features.by_kind == {"video": [], "image": []}
    assert isinstance(features.nothing, Tensor)
    features.nothing.backward()
    assert tower.weight.grad == 0


def test_a_known_video_is_not_shown_again() -> None:
    tower, cache = Tower(), FeatureCache(10**6)
    features = [visuals([video(1)], cache=cache).features(tower) for _ in range(3)]
    assert len(tower.shown) == 1
    assert not features[-1].by_kind["video"][0].requires_grad


def test_ranks_call_the_tower_together() -> None:
    tower, cache = Tower(), FeatureCache(10**6)
    visuals([video(1)], cache=cache).features(tower)
    visuals([video(1)], cache=cache, on_any_rank=lambda _: True).features(tower)
    assert tower.shown[1] == [(1, 4, 4)]  # a placeholder: this rank knows its video, another does not


def test_the_oldest_features_go_first() -> None:
    features = torch.zeros(10, dtype=torch.uint8)
    cache = FeatureCache(25)
    cache.put("a", features)
    cache.put("b", features)
    cache.get("a")
    cache.put("c", features)
    assert [key for key in "abc" if cache.get(key) is not None] == ["a", "c"]
    assert cache.used == 20


def test_features_larger_than_the_limit_are_not_kept() -> None:
    cache = FeatureCache(5)
    cache.put("a", torch.zeros(10, dtype=torch.uint8))
    assert (cache.get("a"), cache.used) == (None, 0)


def test_content_tells_videos_apart_not_objects() -> None:
    keys: list[Visual] = [visuals_of(video(n))[0] for n in (1, 1, 2)]
    assert keys[0].key == keys[1].key != keys[2].key
