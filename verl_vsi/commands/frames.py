"""`verl-vsi frames`: decode videos once, ahead of training, and see what is missing or broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from verl_vsi.data_adapters.frames import FrameSpec
    from verl_vsi.data_adapters.frames.build import BuildReport, VideoOutcome

app = typer.Typer(help="Decode videos once, ahead of training.", no_args_is_help=True, add_completion=False)
console = Console()

DEFAULTS = {"sampler": "qwen", "nframes": 16, "fps": None, "min_pixels": 12544, "max_pixels": 100352}
"""As in recipes/recipe/_vsi.yaml (a test compares them)."""

Rows = Annotated[list[Path] | None, typer.Argument(help="Files of rows; none: every video under the root.")]
Root = Annotated[Path, typer.Option(envvar="VSI_ROOT", help="The data root (vsi.root).")]
Recipe = Annotated[str | None, typer.Option(help="Take vsi.frames from this recipe, e.g. vsgrpo_2b (needs verl).")]
Sampler = Annotated[str | None, typer.Option(help="qwen, or linspace (VSI-Bench's).")]
Count = Annotated[int | None, typer.Option(help="Frames a video.")]
Fps = Annotated[float | None, typer.Option(help="Frames a second in place of --nframes.")]
MinPixels = Annotated[int | None, typer.Option(help="Fewest pixels a frame.")]
MaxPixels = Annotated[int | None, typer.Option(help="Most pixels a frame.")]
Decoder = Annotated[str | None, typer.Option(help="pyav or torchcodec.")]
Store = Annotated[Path | None, typer.Option(help="The store's folder; default: ROOT/frames.")]
OnError = Annotated[str, typer.Option(help="A broken video: raise (exit 1), skip, or quarantine (and remember it).")]
Timeout = Annotated[float, typer.Option(help="Seconds that one video may take.")]
Workers = Annotated[int | None, typer.Option(help="Processes; default: one a core.")]


@app.command(epilog="Example: verl-vsi frames build rows/train.parquet --root /data/vsi --recipe vsgrpo_2b")
def build(
    root: Root,
    rows: Rows = None,
    recipe: Recipe = None,
    sampler: Sampler = None,
    nframes: Count = None,
    fps: Fps = None,
    min_pixels: MinPixels = None,
    max_pixels: MaxPixels = None,
    decoder: Decoder = None,
    store: Store = None,
    on_error: OnError = "raise",
    timeout: Timeout = 60.0,
    workers: Workers = None,
) -> None:
    """Decode every video that has no frames yet. Interrupt it as you like: it goes on where it was."""
    from verl_vsi.data_adapters.frames import FrameStore
    from verl_vsi.data_adapters.frames import build as frames_build

    with _errors():
        spec = _spec(recipe, sampler, nframes, fps, min_pixels, max_pixels, decoder)
        folder = (store or root / "frames").absolute()
        open_store = partial(FrameStore, folder, spec, cast(Any, on_error), timeout, root.absolute())
        open_store()  # wrong settings stop here, not in the workers
        videos = list(_videos(root.absolute(), folder, rows))
        with _progress(len(videos)) as advance:
            report = frames_build.build(open_store, videos, workers, advance)
    _summary(report, folder / spec.key)
    if report.failures and on_error == "raise":
        raise SystemExit(1)


@app.command(epilog="Example: verl-vsi frames check rows/train.parquet --root /data/vsi --recipe vsgrpo_2b")
def check(
    root: Root,
    rows: Rows = None,
    recipe: Recipe = None,
    sampler: Sampler = None,
    nframes: Count = None,
    fps: Fps = None,
    min_pixels: MinPixels = None,
    max_pixels: MaxPixels = None,
    decoder: Decoder = None,
    store: Store = None,
) -> None:
    """Say of every video whether its frames are there and whole, not made yet, or can't be made. Decodes nothing."""
    from verl_vsi.data_adapters.frames import FrameStore
    from verl_vsi.data_adapters.frames import build as frames_build

    with _errors():
        spec = _spec(recipe, sampler, nframes, fps, min_pixels, max_pixels, decoder)
        folder = (store or root / "frames").absolute()
        opened = FrameStore(folder, spec, data_root=root.absolute())
        videos = list(_videos(root.absolute(), folder, rows))
        report = frames_build.BuildReport()
        with _progress(len(videos)) as advance:
            for video in videos:
                report.outcomes.append(frames_build.outcome_of(opened, video, decode=False))
                advance(report.outcomes[-1])
    _summary(report, folder / spec.key)
    if report.count("found") < len(videos):
        raise SystemExit(1)


def _spec(
    recipe: str | None,
    sampler: str | None,
    nframes: int | None,
    fps: float | None,
    min_pixels: int | None,
    max_pixels: int | None,
    decoder: str | None,
) -> FrameSpec:
    """The recipe's frames (by default those of every big recipe), changed by what the command line gives."""
    from verl_vsi.data_adapters.frames import FrameSpec

    node: dict[str, Any] = _recipe_frames(recipe) if recipe else dict(DEFAULTS)
    given = {"sampler": sampler, "nframes": nframes, "fps": fps, "decoder": decoder}
    given |= {"min_pixels": min_pixels, "max_pixels": max_pixels}
    node |= {key: value for key, value in given.items() if value is not None}
    if fps is not None and nframes is None:
        node["nframes"] = None
    return FrameSpec.from_config(node)


def _recipe_frames(recipe: str) -> dict[str, Any]:
    """`vsi.frames` of a recipe, composed as the trainer would compose it."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from verl_vsi.config.recipes import composer

    try:
        with composer() as composing:
            config = composing.recipe([recipe, "vsi.frames.store=null"])
    except HydraException as error:
        raise ValueError(f"recipe {recipe} does not compose: {error}; `verl-vsi recipes list` names them") from error
    return dict(OmegaConf.to_container(config.vsi.frames, resolve=True))  # pyright: ignore


def _videos(root: Path, store: Path, rows: list[Path] | None) -> Iterator[Path]:
    """Distinct videos that the rows name, or all under the root."""
    from verl_vsi.data_adapters.datasets.data_settings import check_files
    from verl_vsi.data_adapters.files import inside
    from verl_vsi.data_adapters.frames.build import find_videos

    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; give --root, or set VSI_ROOT")
    if not rows:
        yield from find_videos(root, store)
        return
    import pyarrow.parquet as pq

    check_files([str(path) for path in rows])
    names = {v: None for path in rows for row in pq.read_table(path, columns=["videos"])["videos"] for v in row.as_py()}
    yield from (inside(root, name) for name in names)


@contextmanager
def _errors() -> Iterator[None]:
    """Errors of the library as one red line and exit status 2."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise SystemExit(2) from None


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
    console.print(f"{escape(text)}: {escape(str(folder))}", soft_wrap=True)
