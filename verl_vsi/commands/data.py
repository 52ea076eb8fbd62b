"""`verl-vsi data`: rows of questions from scenes, from files of others, and from the benchmark; and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from verl_vsi.commands import data_views as views
from verl_vsi.commands._common import OptionalRoot, Root, command, console, named_values, number, say
from verl_vsi.commands.data_sources import (
    FrameAwareOptions,
    RuleOptions,
    SceneOptions,
    frame_aware,
    quotas,
    read_sources,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="Build, import, check and audit rows of questions.", no_args_is_help=True, add_completion=False)

Out = Annotated[
    Path, typer.Argument(help="NAME.parquet, the file to write; what is left out goes to NAME.rejected.jsonl.")
]
Split = Annotated[str, typer.Option(help="train, val or test: what the rows say of themselves.")]
Seed = Annotated[int, number(0, "Of every random choice.")]
Workers = Annotated[int, number(1, "Processes.", high=1024)]
Published = Annotated[
    bool, typer.Option("--published", help="Let the benchmark's scenes and ScanNet's val scans in, as the paper did.")
]


Extraction = Annotated[
    Literal["official", "lmms_eval", "robust"],
    typer.Option(help="The run's answer extraction: a truth that it can't reach is named."),
]


def _announce(out: Path) -> None:
    """Say that a file will be replaced.

    Raises:
        ValueError: its name promises another format.
    """
    if out.suffix != ".parquet":
        raise ValueError(f"{out}: rows are written as parquet; name the file {out.with_suffix('.parquet').name}")
    if out.exists():
        say(f"{out} is there, and is replaced")


@app.command(epilog="Example: verl-vsi data build rows/train.parquet --scannet /data/scannet")
@command()
def build(
    out: Out,
    sources: SceneOptions,
    questions: RuleOptions,
    frames: FrameAwareOptions,
    published: Published = False,
    split: Split = "train",
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Make rows from scenes: ScanNet's files, a meta-info file, or rendered rooms."""
    from verl_vsi.data_adapters.questions import Ambiguity
    from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows

    _announce(out)
    aware = frame_aware(frames)
    scenes, source = read_sources(out, sources, frames, workers)
    ambiguity = Ambiguity(questions.margin, questions.angle)
    settings = {"quotas": quotas(questions), "ambiguity": ambiguity, "tasks": questions.task, "frames": aware}
    plan = BuildPlan(questions.rules, seed, split, published, absent=questions.absent, **settings)
    with console.status("questions"):
        outcome = build_rows(out, scenes, plan, source)
    views.show_outcome(outcome)


@app.command(epilog="Example: verl-vsi data rooms /data/vsi --split train --count 5000 --seed 1")
@command()
def rooms(
    root: Annotated[Path, typer.Argument(help="The data root; videos land in ROOT/rooms.")],
    split: Annotated[str, typer.Option(help="Name of the split.")],
    count: Annotated[int, number(1, "How many rooms.")],
    seed: Annotated[int, number(0, "The family of rooms; give every split its own.")],
    workers: Workers = 2,
) -> None:
    """Render rooms with exact 3D truth: mp4 files and a *.scenes.jsonl for data build. Needs no download."""
    from verl_vsi.data_adapters.synthetic_rooms import render_split
    from verl_vsi.data_adapters.synthetic_rooms.splits import scenes_file

    scenes = render_split(root, split, count, seed, workers=workers)
    say(f"{len(scenes)} rooms; next: verl-vsi data build ROWS --scenes {scenes_file(root, split)}")


@app.command("import", epilog="Example: verl-vsi data import rows/train.parquet --file VSI-100k.json")
@command()
def import_(
    out: Out,
    file: Annotated[Path, typer.Option(help="Ready-made questions: JSON, JSONL or parquet.")],
    format: Annotated[
        str | None,
        typer.Option(help="A published set: vsi-train-10k, vsi-590k, spacer-151k, spatialladder-26k or vilasr."),
    ] = None,
    map: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN where content does not tell; repeatable.")] = None,
    keep_out: Annotated[
        Path | None, typer.Option(help="Scenes to leave out, too: ReVSI's 3d_annotation.json, or a name a line.")
    ] = None,
    published: Published = False,
    split: Split = "train",
    extraction: Extraction = "robust",
) -> None:
    """Bring in a ready-made question file, e.g. the hub's OPPOer/VSI-100k, or a training set of others by name."""
    from verl_vsi.data_adapters.importers import FIELDS, import_rows
    from verl_vsi.data_adapters.importers.training_sets import training_set
    from verl_vsi.data_adapters.leakage import read_scene_names
    from verl_vsi.data_adapters.vsi100k import write_outcome

    _announce(out)
    source = training_set(format) if format else None
    origin = {"builder": "data import", "source": file.name, "published": published}
    if source:
        origin |= {"set": source.source, "licence": source.licence}
        say(f"{source.source} ({source.files}); licence: {source.licence}")
    with console.status(f"reading {file.name}"):
        columns = named_values("--map", map or [], FIELDS, "FIELD=COLUMN")
        names = read_scene_names(keep_out) if keep_out else frozenset()
        settings = {"published": published, "split": split, "extraction": extraction}
        rows = import_rows(file, mapping=columns, source=source, kept_out=names, **settings)
        outcome = write_outcome(out, rows, origin)
    views.show_outcome(outcome)


@app.command(epilog="Example: verl-vsi data bench rows/vsibench.parquet --questions test.jsonl --zip scannet.zip")
@command()
def bench(
    out: Out,
    questions: Annotated[Path, typer.Option(help="test.jsonl or a parquet file of nyu-visionx/VSI-Bench.")],
    zip: Annotated[list[Path] | None, typer.Option(help="A zip of videos to unpack; repeatable.")] = None,
    root: OptionalRoot = None,
    subset: Annotated[Literal["full", "debiased", "pruned"], typer.Option(help="Which questions.")] = "full",
    pruned_ids: Annotated[Path | None, typer.Option(help="pruned_ids.txt, for files without that column.")] = None,
    benchmark: Annotated[
        Literal["vsibench", "revsi"], typer.Option(help="Whose questions; ReVSI's lie in a folder such as 32_frame.")
    ] = "vsibench",
) -> None:
    """Make rows of VSI-Bench's own questions, and unpack its videos under the data root; or of ReVSI's questions."""
    from verl_vsi.data_adapters.revsi import revsi_rows
    from verl_vsi.data_adapters.vsi100k import write_outcome
    from verl_vsi.data_adapters.vsibench_download import benchmark_rows, read_ids

    _announce(out)
    if zip and root is None:
        raise ValueError("--zip needs --root (or VSI_ROOT): the data root that videos are unpacked under")
    origin = {"builder": "data bench", "source": questions.name, "rules": "vsibench", "subset": subset}
    ids = None if pruned_ids is None else read_ids(pruned_ids)
    rows = revsi_rows(questions) if benchmark == "revsi" else benchmark_rows(questions, subset, ids)
    outcome = write_outcome(out, rows, origin | {"rules": benchmark})
    for archive in zip or []:
        views.unpack(archive, root or Path())
    views.show_outcome(outcome)


@app.command(epilog="Example: verl-vsi data videos --scannet /data/scannet --root /data/vsi --rate 24")
@command()
def videos(
    scannet: Annotated[Path, typer.Option(help="ScanNet as downloaded: .sens files or folders of colour frames.")],
    root: Root,
    rate: Annotated[float, number(0.1, "Frames a second; the benchmark's videos have 24.", high=30)] = 24,
    workers: Workers = 2,
) -> None:
    """Make ROOT/scannet/<scan>.mp4 from ScanNet's streams; those that are there are kept."""
    from verl_vsi.data_adapters.scannet.videos import scan_videos

    if views.show_videos(scan_videos(scannet, root, rate, workers)):
        raise SystemExit(1)


@app.command(epilog="Example: verl-vsi data check rows/train.parquet --root /data/vsi")
@command()
def check(
    rows: Annotated[list[Path] | None, typer.Argument(help="Parquet files of rows whose videos must be there.")] = None,
    root: OptionalRoot = None,
    scannet: Annotated[Path | None, typer.Option(help="ScanNet's folder: look for the files a build needs.")] = None,
    scans: Annotated[Literal["train", "val"], typer.Option(help="Which of ScanNet's scans.")] = "train",
) -> None:
    """Say per scene what is missing and which official file holds it; exit status 1 where something is."""
    missing = list(_missing(rows or [], root, scannet, scans))
    views.show_missing(missing)
    if missing:
        raise SystemExit(1)


def _missing(rows: list[Path], root: Path | None, scannet: Path | None, scans: str) -> Iterator[Any]:
    from verl_vsi.data_adapters.audit import missing_scans, missing_videos
    from verl_vsi.data_adapters.leakage import scannet_split
    from verl_vsi.data_adapters.rows import iter_rows

    if (not rows and scannet is None) or (rows and root is None):
        raise ValueError("give files of rows and --root (or VSI_ROOT), or --scannet DIR, or both")
    for file in rows:
        yield from missing_videos(iter_rows(file), root or Path())
    if scannet is not None:
        yield from missing_scans(scannet, scannet_split(scans))


@app.command(epilog="Example: verl-vsi data audit rows/train.parquet --root /data/vsi")
@command()
def audit(
    file: Annotated[Path, typer.Argument(help="A parquet file of rows.")],
    root: OptionalRoot = None,
    extraction: Extraction = "robust",
    shortcuts: Annotated[
        bool, typer.Option("--shortcuts", help="Also measure what can be answered without the videos (scikit-learn).")
    ] = False,
) -> None:
    """Show overlap with the benchmark, duplicates, answers, chance and most-frequent-answer scores per task.

    Where the benchmark's videos lie under the data root, too, copies of them under other names are looked for.
    """
    from verl_vsi.data_adapters.audit import audit as audit_rows
    from verl_vsi.data_adapters.copies import benchmark_copies
    from verl_vsi.data_adapters.rows import iter_rows, read_fingerprint

    fingerprint = read_fingerprint(file)
    views.show_audit(file, fingerprint, audit_rows(iter_rows(file), extraction))
    if shortcuts:
        from verl_vsi.data_adapters.shortcuts import shortcuts as measure

        with console.status("learning from words alone"):
            answerable = measure(iter_rows(file))
        views.show_shortcuts(answerable)
    if root is not None:
        views.show_copies(benchmark_copies(iter_rows(file), root))
