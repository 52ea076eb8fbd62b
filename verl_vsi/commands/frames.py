"""`verl-vsi frames`: decode videos once, ahead of training, and see what is missing or broken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from verl_vsi.commands._common import FrameOptions, Root, command, console, number, recipe_frames, say

if TYPE_CHECKING:
    from verl_vsi.data_adapters.frames import FrameSpec
    from verl_vsi.data_adapters.frames.build import BuildReport, VideoOutcome

app = typer.Typer(help="Decode videos once, ahead of training.", no_args_is_help=True, add_completion=False)

DEFAULTS = {"sampler": "qwen", "nframes": 16, "fps": None, "min_pixels": 12544, "max_pixels": 100352}
"""As in recipes/recipe/_vsi.yaml (a test compares them)."""


@dataclass(frozen=True)
class VideoOptions:
    """Videos."""

    root: Root
    rows: Annotated[list[Path] | None, typer.Argument(help="Files of rows; none: every video under the root.")] = None
    store: Annotated[Path | None, typer.Option(help="The store's folder; default: ROOT/frames.")] = None

    @property
    def folder(self) -> Path:
        """The store's."""
        return (self.store or self.root / "frames").absolute()


@dataclass(frozen=True)
class StoredFrameOptions(FrameOptions):
    """Frames."""

    fps: Annotated[float | None, number(0.001, "Frames a second in place of --nframes.", high=1000)] = None
    decoder: Annotated[str | None, typer.Option(help="pyav or torchcodec.")] = None
    recipe: Annotated[
        str | None,
        typer.Option(help="Take vsi.frames from this recipe, e.g. 'vsgrpo_2b model=qwen3_vl_4b' (needs verl)."),
    ] = None


@app.command(epilog="Example: verl-vsi frames build rows/train.parquet --root /data/vsi --recipe vsgrpo_2b")
@command()
def build(
    videos: VideoOptions,
    frames: StoredFrameOptions,
    on_error: Annotated[
        str, typer.Option(help="A broken video: raise (exit 1), skip, or quarantine (and remember it).")
    ] = "raise",
    timeout: Annotated[float, number(0.1, "Seconds that one video may take.")] = 60.0,
    memory: Annotated[float, number(0.1, "GiB of memory that one video may take.")] = 4.0,
    workers: Annotated[int | None, number(1, "Processes; default: one a core.", high=1024)] = None,
) -> None:
    """Decode every video that has no frames yet. Interrupt it as you like: it goes on where it was."""
    from verl_vsi.data_adapters.frames import FrameStore, VideoLimits
    from verl_vsi.data_adapters.frames import build as frames_build

    spec, workers = _spec(frames), workers or os.cpu_count() or 1
    limits, root = VideoLimits(timeout, memory), videos.root.absolute()
    store = FrameStore(videos.folder, spec, cast(Any, on_error), limits, root, workers)
    paths = list(_paths(videos))
    with _progress(len(paths)) as advance:
        report = frames_build.build(store, paths, workers, advance)
    _summary(report, videos.folder / spec.key)
    if report.failures and on_error == "raise":
        raise SystemExit(1)


@app.command(epilog="Example: verl-vsi frames check rows/train.parquet --root /data/vsi --recipe vsgrpo_2b")
@command()
def check(videos: VideoOptions, frames: StoredFrameOptions) -> None:
    """Say of every video whether its frames are there and whole, not made yet, or can't be made. Decodes nothing."""
    from verl_vsi.data_adapters.frames import FrameStore
    from verl_vsi.data_adapters.frames import build as frames_build

    spec = _spec(frames)
    store = FrameStore(videos.folder, spec, data_root=videos.root.absolute())
    paths = list(_paths(videos))
    report = frames_build.BuildReport()
    with _progress(len(paths)) as advance:
        for path in paths:
            report.outcomes.append(frames_build.outcome_of(store, path, decode=False))
            advance(report.outcomes[-1])
    _summary(report, videos.folder / spec.key)
    if report.count("found") < len(paths):
        raise SystemExit(1)


def _spec(options: StoredFrameOptions) -> FrameSpec:
    """The recipe's frames (by default those of every big recipe), changed by what the command line sets."""
    from verl_vsi.data_adapters.frames import FrameSpec

    node = recipe_frames(options.recipe) if options.recipe else dict[str, Any](DEFAULTS)
    node |= {key: value for key, value in vars(options).items() if value is not None and key != "recipe"}
    if options.fps is not None and options.nframes is None:
        node["nframes"] = None
    return FrameSpec.from_config(node)


def _paths(videos: VideoOptions) -> Iterator[Path]:
    """Distinct videos that the rows name, or all under the root."""
    from verl_vsi.data_adapters.datasets.data_settings import check_files
    from verl_vsi.data_adapters.files import inside
    from verl_vsi.data_adapters.frames.build import find_videos
    from verl_vsi.data_adapters.parquet_files import batches

    root = videos.root.absolute()
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; give --root, or set VSI_ROOT")
    if not videos.rows:
        yield from find_videos(root, videos.folder)
        return
    check_files([str(path) for path in videos.rows])
    columns = (batch["videos"] for path in videos.rows for batch in batches(path, columns=["videos"]))
    names = {name: None for column in columns for row in column for name in row.as_py()}
    yield from (inside(root, name) for name in names)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[VideoOutcome], None]]:
    columns = (TextColumn("videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("videos", total=total)

        def advance(outcome: VideoOutcome) -> None:
            if outcome.error:
                bar.console.print(escape(outcome.error), soft_wrap=True)
            bar.advance(task)

        yield advance


def _summary(report: BuildReport, folder: Path) -> None:
    counts = {status: report.count(status) for status in ("built", "found", "missing", "failed")}
    text = ", ".join(f"{n} {status}" for status, n in counts.items() if n) or "no videos"
    say(f"{text}: {folder}")
