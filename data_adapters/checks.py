"""What must hold before training: files that are there and hold rows, videos that can be decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from verl_vsi.data_adapters.frames import FrameError, FrameInfo, FrameStore
from verl_vsi.data_adapters.settings import Settings, open_store

_SHOWN = 5


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


def usable_videos(settings: Settings, videos: Iterable[str]) -> dict[str, FrameInfo]:
    """The index entry of every distinct video that can be used.

    With `on_error=raise` a container's own account is enough here, and no video is decoded. With ``skip`` and
    ``quarantine`` each is decoded now if it never was, because a row can't be left out in the middle of a step.

    Raises:
        ValueError: with ``raise``, videos are missing or broken (all are counted, some named); with the others, none
            is left. Always, if a path leads out of the data root.
    """
    store = open_store(settings)
    found: dict[str, FrameInfo] = {}
    failed: list[FrameError] = []
    for name in dict.fromkeys(videos):
        path = settings.video(name)
        try:
            found[name] = store.info(path) if settings.on_error == "raise" else _decoded(store, path)
        except FrameError as error:
            failed.append(error)
    if failed:
        _report(failed, len(found), settings)
    return found


def _decoded(store: FrameStore, path: Path) -> FrameInfo:
    return store.info(path) if store.has(path) else store.frames(path).meta


def _report(failed: list[FrameError], good: int, settings: Settings) -> None:
    shown = "\n  ".join(str(e) for e in failed[:_SHOWN])
    more = f"\n  ... and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    message = f"{len(failed)} of {good + len(failed)} videos under {settings.root} can't be used:\n  {shown}{more}"
    if settings.on_error == "raise" or not good:
        raise ValueError(f"{message}\n`verl-vsi data check` and `verl-vsi frames check` list them all")
    print(f"left out: the rows of {message}")
