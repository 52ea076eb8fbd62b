"""A frame store over a data root of one video."""

from __future__ import annotations

from pathlib import Path

from verl_vsi.data_adapters.frames import FrameSpec, FrameStore

SPEC = FrameSpec(sampler="linspace", nframes=4, min_pixels=28 * 28, max_pixels=112 * 112)


def store_of(video: Path, **settings: object) -> FrameStore:
    """The store of the data root that a video lies in, a folder above.

    Args:
        video: ``ROOT/scannet/a.mp4``.
        settings: of `FrameStore`.
    """
    root = video.parents[1]
    return FrameStore(root / "frames", SPEC, data_root=root, **settings)  # pyright: ignore[reportArgumentType]


def array_of(store: FrameStore) -> Path:
    """The one array that a store holds."""
    (path,) = (store.root / SPEC.key).glob("*.npy")
    return path
