"""`verl-vsi data`: rows of questions from scenes, from files of others, and from the benchmark; and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from verl_vsi.commands import data_views as views
from verl_vsi.commands._common import OptionalRoot, Root, command, console, named_values, number, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verl_vsi.data_adapters.questions import Quotas
    from verl_vsi.data_adapters.schema import Rejected, Scene

app = typer.Typer(help="Build, import, check and audit rows of questions.", no_args_is_help=True, add_completion=False)

Out = Annotated[Path, typer.Argument(help="The parquet file to write; what is left out goes to OUT.rejected.jsonl.")]
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


@dataclass(frozen=True)
class SceneOptions:
    """Scenes, from one source."""

    scannet: Annotated[Path | None, typer.Option(help="ScanNet as download-scannet.py wrote it.")] = None
    meta_info: Annotated[Path | None, typer.Option(help="A meta-info JSON of VSI-Bench's authors.")] = None
    scenes: Annotated[Path | None, typer.Option(help="A *.scenes.jsonl, e.g. of data rooms.")] = None
    labels: Annotated[Path | None, typer.Option(help="ScanNet's label map, where it is not in its folder.")] = None


@dataclass(frozen=True)
class RuleOptions:
    """Questions."""

    rules: Annotated[str, typer.Option(help="paper (VSI-100k) or vsibench.")] = "paper"
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None
    total: Annotated[list[str] | None, typer.Option(help="TASK=N questions in all; repeatable.")] = None
    per_scene: Annotated[list[str] | None, typer.Option(help="TASK=N, or N for all tasks; repeatable.")] = None
    margin: Annotated[float, number(0, "Metres that the nearest must be nearer (paper: 0).", high=100)] = 0.0
    angle: Annotated[float, number(0, "Degrees off the line of sight for left and right (paper: 0).", high=90)] = 0.0


@app.command(epilog="Example: verl-vsi data build rows/train.parquet --scannet /data/scannet")
@command()
def build(
    out: Out,
    sources: SceneOptions,
    questions: RuleOptions,
    published: Published = False,
    split: Split = "train",
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Make rows from scenes: ScanNet's files, a meta-info file, or rendered rooms."""
    from verl_vsi.data_adapters.questions import Ambiguity
    from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows

    scenes, source = _scenes(out, sources, workers)
    ambiguity = Ambiguity(questions.margin, questions.angle)
    plan = BuildPlan(questions.rules, seed, split, published, _quotas(questions), ambiguity, questions.task)
    with console.status("questions"):
        outcome = build_rows(out, scenes, plan, source)
    views.show_outcome(outcome)


def _scenes(
    out: Path, sources: SceneOptions, workers: int
) -> tuple[Iterator[Scene | Rejected] | list[Scene | Rejected], str]:
    """The one source that is named, and its name."""
    from verl_vsi.data_adapters.scannet.scan_files import label_map
    from verl_vsi.data_adapters.scannet.scans import read_scans, scan_folders
    from verl_vsi.data_adapters.scene_files import read_meta_info, read_scenes

    if sum(source is not None for source in (sources.scannet, sources.meta_info, sources.scenes)) != 1:
        raise ValueError("give one source of scenes: --scannet DIR, --meta-info FILE or --scenes FILE")
    if sources.scannet is not None:
        folders, labels = scan_folders(sources.scannet), sources.labels or label_map(sources.scannet)
        scans = read_scans(folders, labels, out.with_suffix(".scenes.jsonl"), workers=workers)
        return list(scans), "scannet"  # read before the questions' own progress starts
    if sources.meta_info is not None:
        return read_meta_info(sources.meta_info), sources.meta_info.name
    assert sources.scenes is not None
    return read_scenes(sources.scenes), sources.scenes.name


def _quotas(questions: RuleOptions) -> Quotas | None:
    """The command line's quotas in place of the rule set's own; None: the rule set's own."""
    from verl_vsi.data_adapters.questions import Quotas, rule_set

    tasks = tuple(rule_set(questions.rules).tasks)
    totals = _numbers(questions.total or [], tasks, "--total")
    per_scene = _numbers(questions.per_scene or [], tasks, "--per-scene")
    return Quotas(totals, per_scene) if totals or per_scene else None


def _numbers(pairs: list[str], tasks: tuple[str, ...], option: str) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for pair in pairs:
        task, _, number = pair.rpartition("=")
        if not number.isdigit() or (task and task not in tasks):
            raise ValueError(f"{option} {pair}: expected TASK=N with TASK one of {', '.join(tasks)}")
        numbers |= dict.fromkeys([task] if task else tasks, int(number))
    return numbers


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
    map: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN where content does not tell; repeatable.")] = None,
    published: Published = False,
    split: Split = "train",
    extraction: Extraction = "robust",
) -> None:
    """Bring in a ready-made question file, e.g. the hub's OPPOer/VSI-100k."""
    from verl_vsi.data_adapters.importers import FIELDS, import_rows
    from verl_vsi.data_adapters.vsi100k import write_outcome

    origin = {"builder": "data import", "source": file.name, "published": published}
    with console.status(f"reading {file.name}"):
        columns = named_values("--map", map or [], FIELDS, "FIELD=COLUMN")
        rows = import_rows(file, mapping=columns, published=published, split=split, extraction=extraction)
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
) -> None:
    """Make rows of VSI-Bench's own questions, and unpack its videos under the data root."""
    from verl_vsi.data_adapters.vsi100k import write_outcome
    from verl_vsi.data_adapters.vsibench_download import benchmark_rows, read_ids

    if zip and root is None:
        raise ValueError("--zip needs --root (or VSI_ROOT): the data root that videos are unpacked under")
    origin = {"builder": "data bench", "source": questions.name, "rules": "vsibench", "subset": subset}
    ids = None if pruned_ids is None else read_ids(pruned_ids)
    outcome = write_outcome(out, benchmark_rows(questions, subset, ids), origin)
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
) -> None:
    """Show overlap with the benchmark, duplicates, answers, chance and most-frequent-answer scores per task.

    Where the benchmark's videos lie under the data root, too, copies of them under other names are looked for.
    """
    from verl_vsi.data_adapters.audit import audit as audit_rows
    from verl_vsi.data_adapters.copies import benchmark_copies
    from verl_vsi.data_adapters.rows import iter_rows, read_fingerprint

    fingerprint = read_fingerprint(file)
    views.show_audit(file, fingerprint, audit_rows(iter_rows(file), extraction))
    if root is not None:
        views.show_copies(benchmark_copies(iter_rows(file), root))
