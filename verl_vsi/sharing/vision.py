"""The videos and images of a packed batch: each through the vision tower once, or not at all where it is known."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from verl_vsi.sharing.stored_video import KEY, patches

Tower = Callable[[Tensor, Tensor], Tensor]
"""Patches (patches, channels), grids (items, 3) -> features (tokens, hidden)."""

KINDS = {"video": ("pixel_values_videos", "video_grid_thw"), "image": ("pixel_values", "image_grid_thw")}
"""What a prompt shows, and where a processor's output holds its patches and its grids."""

_PLACEHOLDER_GRID = (1, 4, 4)
_MERGED = 4  # patches that the tower merges into a token


@dataclass(frozen=True)
class Visual:
    """One video or image: its patches (t*h*w, channels) when asked for, its grid (t, h, w), and what tells it apart."""

    kind: str
    key: Hashable
    grid: tuple[int, ...]
    patches: Callable[[], Tensor]


@dataclass(frozen=True)
class Features:
    """Features (tokens, hidden) of each video and each image, in the order of the prompts.

    `nothing` is zero, and depends on the tower where there was nothing to show it, as in verl: under FSDP every rank
    has to call it, and its parameters get a gradient.
    """

    video: list[Tensor]
    image: list[Tensor]
    nothing: Tensor | float


class FeatureCache:
    """Features of a frozen tower, least recently used out first."""

    def __init__(self, limit: int) -> None:
        """Remember up to `limit` bytes, in host memory."""
        self.limit = limit
        self.used = 0
        self._features: OrderedDict[Hashable, Tensor] = OrderedDict()

    def get(self, key: Hashable) -> Tensor | None:
        """Features (tokens, hidden), if known."""
        if key in self._features:
            self._features.move_to_end(key)
        return self._features.get(key)

    def put(self, key: Hashable, features: Tensor) -> None:
        """Remember features; forget the oldest ones over the limit."""
        size = features.nbytes
        if size > self.limit or key in self._features:
            return
        self._features[key] = features.detach().cpu()
        self.used += size
        while self.used > self.limit:
            self.used -= self._features.popitem(last=False)[1].nbytes


@dataclass(frozen=True)
class Visuals:
    """What the prompts of a packed batch show, in their order.

    Attributes:
        items: each prompt's videos and images, prompt after prompt.
        channels: channels of a patch.
        device: where the tower is.
        cache: where features are remembered, for a frozen tower; none for a tower that is trained.
        anywhere: whether a thing is true on any rank. Ranks must call the tower together.
    """

    items: Sequence[Visual]
    channels: int
    device: torch.device
    cache: FeatureCache | None = None
    anywhere: Callable[[bool], bool] = field(default=bool)

    def features(self, tower: Tower) -> Features:
        """Run the tower on each item that differs and is not known."""
        distinct = {item.key: item for item in self.items}
        known = self._known(distinct)
        unknown = [item for item in distinct.values() if item.key not in known]
        nothing: Tensor | float = 0.0
        if self.cache is None or self.anywhere(bool(unknown)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.cache is None):
                known |= self._run(tower, unknown)
                nothing = 0.0 if unknown else self._run_on_nothing(tower)
        ordered = {kind: [known[item.key] for item in self.items if item.kind == kind] for kind in KINDS}
        return Features(ordered["video"], ordered["image"], nothing)

    def _known(self, distinct: Mapping[Hashable, Visual]) -> dict[Hashable, Tensor]:
        if self.cache is None:
            return {}
        found = {key: self.cache.get(key) for key in distinct}
        return {key: features.to(self.device) for key, features in found.items() if features is not None}

    def _run(self, tower: Tower, items: Sequence[Visual]) -> dict[Hashable, Tensor]:
        if not items:
            return {}
        parts = [item.patches() for item in items]
        patches = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(self.device)
        grids = torch.tensor([item.grid for item in items], device=self.device)
        tokens = (grids.prod(-1) // _MERGED).tolist()
        features = dict(zip((item.key for item in items), tower(patches, grids).split(tokens), strict=True))
        for key, feature in features.items() if self.cache is not None else ():
            self.cache.put(key, feature)  # pyright: ignore[reportOptionalMemberAccess]
        return features

    def _run_on_nothing(self, tower: Tower) -> Tensor:
        grid = torch.tensor([_PLACEHOLDER_GRID], device=self.device)
        patches = torch.zeros(int(grid.prod()), self.channels, device=self.device)
        return 0.0 * tower(patches, grid).mean()


def visuals_of(inputs: Mapping[str, Any] | None, processor: Any = None) -> list[Visual]:
    """A row's videos and images, from `multi_modal_inputs` in verl's batches.

    These are the output of the model's processor; or, in place of a video's patches, its name in the frame store, and
    then `processor` makes the patches when they are asked for.
    """
    items = []
    for kind, (patches_key, grids_key) in KINDS.items():
        grids = (inputs or {}).get(grids_key)
        if grids is None or not inputs:
            continue
        grids = torch.as_tensor(grids)
        if kind == "video" and KEY in inputs:
            items += [_stored(text, grid, processor) for text, grid in zip(inputs[KEY], grids, strict=True)]
            continue
        parts = inputs[patches_key].split(grids.prod(-1).tolist())
        items += [_item(kind, tuple(grid.tolist()), part) for grid, part in zip(grids, parts, strict=True)]
    return items


def _item(kind: str, grid: tuple[int, ...], patches: Tensor) -> Visual:
    return Visual(kind, (kind, grid, digest(patches)), grid, lambda: patches)


def _stored(text: str, grid: Tensor, processor: Any) -> Visual:
    return Visual("video", text, tuple(grid.tolist()), lambda: patches(text, processor))


def digest(tensor: Tensor) -> bytes:
    """What tells one content from another."""
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(data.data, digest_size=16).digest()
