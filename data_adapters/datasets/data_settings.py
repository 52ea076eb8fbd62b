"""What a recipe's `vsi` node says of data, and what must hold before training: files with rows, videos with frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from verl_vsi.data_adapters.files import inside
from verl_vsi.data_adapters.frames import FrameError, FrameInfo, FrameSpec, FrameStore, OnError, VideoLimits
from verl_vsi.data_adapters.prompts import check_mode

HAND_ON = "verl hands its dataset only the data node: a recipe sets data.vsi: ${vsi}"


@dataclass(frozen=True)
class DataSettings:
    """Where videos lie, which frames to take, what to ask.

    Args:
        root: the data root; rows name videos relative to it.
        store: the frame store's folder.
        frames: which frames, how large.
        on_error: what to do about a video that can't be decoded.
        limits: seconds and memory for decoding one video.
        mode: vanilla, think or observe.
        train_prompt: the mode's prompt in training.
    """

    root: Path
    store: Path
    frames: FrameSpec
    on_error: OnError
    limits: VideoLimits
    mode: str
    train_prompt: str

    @classmethod
    def from_config(cls, vsi: Mapping[str, Any] | None) -> DataSettings:
        """Read a `vsi` node, plain or OmegaConf.

        Raises:
            ValueError: a key is missing or wrong; says which and how to set it.
        """
        if vsi is None:
            raise ValueError(f"data.vsi is missing; {HAND_ON}")
        node = _plain(vsi)
        if not node.get("root"):
            raise ValueError(
                "vsi.root is not set: the folder that holds the videos. Set VSI_ROOT=/path/to/data, or vsi.root=..."
            )
        root, frames, mode = Path(node["root"]).expanduser(), node.get("frames") or {}, node.get("mode") or {}
        if not root.is_dir():
            raise ValueError(
                f"vsi.root: there is no folder {root}; set VSI_ROOT or vsi.root to the folder of the videos"
            )
        name = mode.get("name", "vanilla")
        check_mode(name)
        if "train_prompt" not in mode:
            raise ValueError(f"vsi.mode.train_prompt is missing for mode '{name}'; choose a mode by mode={name}")
        return cls(
            root=root,
            store=Path(frames.get("store") or root / "frames").expanduser(),
            frames=FrameSpec.from_config(frames),
            on_error=frames.get("on_error", "raise"),
            limits=VideoLimits(float(frames.get("timeout", 60)), float(frames.get("memory", 4))),
            mode=name,
            train_prompt=mode["train_prompt"],
        )

    def video(self, relative: str) -> Path:
        """The file of a row's video.

        Raises:
            ValueError: it leads out of the data root.
        """
        return inside(self.root, relative)


def open_store(settings: DataSettings) -> FrameStore:
    """The process's one store for these settings, so that all rollouts of a prompt meet the same mapped array."""
    with _lock:  # lru_cache alone lets threads that ask at once make one each
        return _store(settings)


_lock = Lock()


@lru_cache(maxsize=8)
def _store(settings: DataSettings) -> FrameStore:
    return FrameStore(settings.store, settings.frames, settings.on_error, settings.limits, settings.root)


def _plain(node: Mapping[str, Any]) -> Mapping[str, Any]:
    from omegaconf import OmegaConf

    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)  # pyright: ignore[reportReturnType]
    return node


_SHOWN = 5  # broken videos that a message names


def check_files(files: Sequence[str]) -> None:
    """See that each local parquet can be read and holds rows.

    Raises:
        ValueError: one is missing, no parquet, or empty.
    """
    import pyarrow.lib
    import pyarrow.parquet as pq

    for file in files:
        if "://" in file:
            continue
        try:
            rows = pq.read_metadata(file).num_rows
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {file}; build it by `verl-vsi data build`") from error
        except (pyarrow.lib.ArrowInvalid, OSError) as error:
            raise ValueError(f"{file} is no readable parquet ({error}); build it again") from error
        if not rows:
            raise ValueError(f"{file} holds no rows; its build left everything out: see the report beside it")


def usable_videos(settings: DataSettings, videos: Iterable[str]) -> dict[str, FrameInfo]:
    """The index entry of every distinct video that can be used.

    With `on_error=raise` a container's own account is enough here, and no video is decoded. With ``skip`` and
    ``quarantine`` each is decoded now if it never was, because a row can't be left out in the middle of a step.

    Args:
        settings: where videos lie, and what to do about broken ones.
        videos: as rows name them, relative to the data root.

    Raises:
        ValueError: with ``raise``, videos are missing or broken (all are counted, some named); with the others, none
            is left. Always, if a path leads out of the data root.
    """
    store = open_store(settings)
    infos: dict[str, FrameInfo] = {}
    errors: list[FrameError] = []
    for name in dict.fromkeys(videos):
        path = settings.video(name)
        try:
            infos[name] = store.info(path) if settings.on_error == "raise" else _decoded(store, path)
        except FrameError as error:
            errors.append(error)
    if errors:
        _report(errors, len(infos), settings)
    return infos


def _decoded(store: FrameStore, path: Path) -> FrameInfo:
    return store.info(path) if store.has(path) else store.frames(path).meta


def _report(errors: list[FrameError], usable: int, settings: DataSettings) -> None:
    lines = "\n  ".join(str(e) for e in errors[:_SHOWN])
    more = f"\n  ... and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    message = f"{len(errors)} of {usable + len(errors)} videos under {settings.root} can't be used:\n  {lines}{more}"
    if settings.on_error == "raise" or not usable:
        raise ValueError(f"{message}\n`verl-vsi data check` and `verl-vsi frames check` list them all")
    print(f"left out: the rows of {message}")
