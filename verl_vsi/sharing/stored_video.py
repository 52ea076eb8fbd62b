"""A video by name: what travels to the trainer instead of its pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_vsi.data_adapters.datasets.data_settings import DataSettings, open_store
from verl_vsi.data_adapters.frames import FrameSpec, VideoLimits

if TYPE_CHECKING:
    import torch

KEY = "vsi_videos"
"""Where a row's `multi_modal_inputs` hold the texts of its `StoredVideo`s, beside `video_grid_thw`."""


@dataclass(frozen=True)
class StoredVideo:
    """A video of the frame store, readable in any process that sees the store's folder."""

    settings: DataSettings
    video: str
    """Relative to the data root, as rows name it."""

    @property
    def text(self) -> str:
        """One line that says it all: TransferQueue turns other objects into dictionaries."""
        settings = asdict(self.settings) | {"root": str(self.settings.root), "store": str(self.settings.store)}
        return json.dumps({"video": self.video, "settings": settings}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> StoredVideo:
        """Read `text` again."""
        node = json.loads(text)
        settings = node["settings"]
        paths = {name: Path(settings[name]) for name in ("root", "store")}
        parts = {"frames": FrameSpec(**settings["frames"]), "limits": VideoLimits(**settings["limits"])}
        return cls(DataSettings(**{**settings, **paths, **parts}), node["video"])

    def frames(self) -> torch.Tensor:
        """(T, 3, H, W) uint8, mapped from the store."""
        return open_store(self.settings).frames(self.settings.video(self.video)).tensor()


def video_names(messages: list[dict[str, Any]]) -> list[str]:
    """The videos that messages in structured form name, in order."""
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    return [part["video"] for part in parts if part.get("type") == "video"]


def stored_patches(text: str, processor: Any) -> torch.Tensor:
    """Patches (t*h*w, channels) float32 of a video, as the model's processor makes them.

    Args:
        text: of its `StoredVideo`.
        processor: the model's.
    """
    video_processor = processor.video_processor
    return _patches(text, _VideoProcessor(video_processor.to_json_string(), video_processor))


@dataclass(frozen=True)
class _VideoProcessor:
    """A video processor: two with the same settings are one, as those of a worker's actor and reference."""

    settings: str
    process: Any = field(compare=False)


_REMEMBERED_VIDEOS = 8
"""Whose patches a process keeps: a group's passes follow each other."""


@lru_cache(maxsize=_REMEMBERED_VIDEOS)
def _patches(text: str, processor: _VideoProcessor) -> torch.Tensor:
    frames = StoredVideo.from_text(text).frames()
    return processor.process(videos=[frames], do_sample_frames=False, return_tensors="pt")["pixel_values_videos"]


def with_pixels(inputs: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """A row's `multi_modal_inputs` as verl's own engine takes them.

    Args:
        inputs: with names of stored videos, or with pixels already.
        processor: the model's.
    """
    import torch

    plain = {key: value for key, value in inputs.items() if key != KEY}
    if inputs.get(KEY):
        plain["pixel_values_videos"] = torch.cat([stored_patches(text, processor) for text in inputs[KEY]])
    return plain
