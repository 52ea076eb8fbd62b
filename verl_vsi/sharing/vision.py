"""The videos and images of a packed batch: each through the vision tower once, or not at all where it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from verl_vsi.data_adapters.lru import LRUCache
from verl_vsi.sharing.stored_video import KEY, stored_patches

KINDS = {"video": ("pixel_values_videos", "video_grid_thw"), "image": ("pixel_values", "image_grid_thw")}
"""What a prompt shows, and where a processor's output holds its patches and its grids."""


@dataclass(frozen=True)
class Visual:
    """One video or image of a prompt.

    Attributes:
        kind: "video" or "image".
        key: what tells it from others.
        grid: patches in time, height and width (t, h, w).
        patches: gives its patches (t*h*w, channels), made only where they are needed.
    """

    kind: str
    key: Hashable
    grid: tuple[int, ...]
    patches: Callable[[], Tensor]


def visuals_of(inputs: Mapping[str, Any] | None, processor: Any = None) -> list[Visual]:
    """A row's videos and images.

    Args:
        inputs: `multi_modal_inputs` in verl's batches: the output of the model's processor; or, in place of a video's
            patches, its name in the frame store.
        processor: makes the patches of named videos.
    """
    visuals: list[Visual] = []
    for kind, (patches_key, grids_key) in KINDS.items():
        grids = (inputs or {}).get(grids_key)
        if grids is None or not inputs:
            continue
        grids = torch.as_tensor(grids)
        if kind == "video" and KEY in inputs:
            visuals += [_stored(text, grid, processor) for text, grid in zip(inputs[KEY], grids, strict=True)]
            continue
        parts = inputs[patches_key].split(grids.prod(-1).tolist())
        visuals += [_processed(kind, grid, part) for grid, part in zip(grids, parts, strict=True)]
    return visuals


def _processed(kind: str, grid: Tensor, patches: Tensor) -> Visual:
    size = tuple(grid.tolist())
    return Visual(kind, (kind, size, _digest(patches)), size, lambda: patches)


def _digest(tensor: Tensor) -> bytes:
    """What tells one content from another."""
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(data.data, digest_size=16).digest()


def _stored(text: str, grid: Tensor, processor: Any) -> Visual:
    return Visual("video", text, tuple(grid.tolist()), lambda: stored_patches(text, processor))


class FeatureCache:
    """Features of a frozen tower, in host memory, least recently used out first."""

    def __init__(self, limit: int) -> None:
        """Remember up to `limit` bytes."""
        self._features: LRUCache[Hashable, Tensor] = LRUCache(limit, lambda features: features.nbytes)

    @property
    def used(self) -> int:
        """Bytes of what is remembered."""
        return self._features.used

    def get(self, key: Hashable) -> Tensor | None:
        """Features (tokens, levels * hidden), if known."""
        return self._features.get(key)

    def put(self, key: Hashable, features: Tensor) -> None:
        """Remember features; forget the oldest ones over the limit.

        Args:
            key: of the video or image.
            features: (tokens, levels * hidden); not remembered where they alone are over the limit.
        """
        if features.nbytes <= self._features.limit:
            self._features.put(key, features.detach().cpu())


Tower = Callable[[Tensor, Tensor], Tensor]
"""Patches (patches, channels), grids (items, 3) -> features (tokens, levels * hidden): `vision_features.run_tower`."""

_PLACEHOLDER_GRID = (1, 4, 4)
_PATCHES_PER_TOKEN = 4


@dataclass(frozen=True)
class Features:
    """What a tower gives.

    Attributes:
        by_kind: features (tokens, levels * hidden) of each video and of each image, in the order of the prompts.
        nothing: zero, which depends on the tower where there was nothing to show it, as in verl: under FSDP every rank
            has to call it, and its parameters get a gradient.
    """

    by_kind: dict[str, list[Tensor]]
    nothing: Tensor | float


@dataclass(frozen=True)
class Visuals:
    """What the prompts of a packed batch show, in their order.

    Attributes:
        items: each prompt's videos and images, prompt after prompt.
        channels: channels of a patch.
        device: where the tower is.
        cache: where features are remembered, for a frozen tower; none for a tower that is trained.
        on_any_rank: whether a flag is true on any rank. Ranks must call the tower together.
    """

    items: Sequence[Visual]
    channels: int
    device: torch.device
    cache: FeatureCache | None = None
    on_any_rank: Callable[[bool], bool] = field(default=bool)

    def features(self, tower: Tower) -> Features:
        """Run the tower on each item that differs and is not known."""
        distinct = {item.key: item for item in self.items}
        features = self._known(distinct)
        unknown = [item for item in distinct.values() if item.key not in features]
        nothing: Tensor | float = 0.0
        if self.cache is None or self.on_any_rank(bool(unknown)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.cache is None):
                features |= self._run(tower, unknown)
                nothing = 0.0 if unknown else self._run_on_placeholder(tower)
        ordered = {kind: [features[item.key] for item in self.items if item.kind == kind] for kind in KINDS}
        return Features(ordered, nothing)

    def _known(self, distinct: Mapping[Hashable, Visual]) -> dict[Hashable, Tensor]:
        if self.cache is None:
            return {}
        cached = {key: self.cache.get(key) for key in distinct}
        return {key: features.to(self.device) for key, features in cached.items() if features is not None}

    def _run(self, tower: Tower, items: Sequence[Visual]) -> dict[Hashable, Tensor]:
        if not items:
            return {}
        parts = [item.patches() for item in items]
        patches = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(self.device)
        grids = torch.tensor([item.grid for item in items], device=self.device)
        tokens = (grids.prod(-1) // _PATCHES_PER_TOKEN).tolist()
        features = dict(zip((item.key for item in items), tower(patches, grids).split(tokens), strict=True))
        if self.cache is not None:
            for key, feature in features.items():
                self.cache.put(key, feature)
        return features

    def _run_on_placeholder(self, tower: Tower) -> Tensor:
        grid = torch.tensor([_PLACEHOLDER_GRID], device=self.device)
        patches = torch.zeros(int(grid.prod()), self.channels, device=self.device)
        return 0.0 * tower(patches, grid).mean()
