"""`verl-vsi data`: rows of questions from scenes, from files of others, and from the benchmark; and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from verl_vsi.commands import data_views as views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verl_vsi.data_adapters.questions import Quotas
    from verl_vsi.data_adapters.schema import Rejected, Scene

app = typer.Typer(help="Build, import, check and audit rows of questions.", no_args_is_help=True, add_completion=False)

Out = Annotated[Path, typer.Argument(help="The parquet file to write; what is left out goes to OUT.rejected.jsonl.")]
Rows = Annotated[Path, typer.Argument(help="A parquet file of rows.")]
Root = Annotated[Path, typer.Option(envvar="VSI_ROOT", help="The data root (vsi.root).")]
Split = Annotated[str, typer.Option(help="train, val or test: what the rows say of themselves.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
Workers = Annotated[int, typer.Option(help="Processes.")]
Published = Annotated[
    bool, typer.Option("--published", help="Let the benchmark's scenes and ScanNet's val scans in, as the paper did.")
]
Several = list[str] | None


@app.command(epilog="Example: verl-vsi data build rows/train.parquet --scannet /data/scannet")
def build(
    out: Out,
    scannet: Annotated[Path | None, typer.Option(help="ScanNet as download-scannet.py wrote it.")] = None,
    meta_info: Annotated[Path | None, typer.Option(help="A meta-info JSON of VSI-Bench's authors.")] = None,
    scenes: Annotated[Path | None, typer.Option(help="A *.scenes.jsonl, e.g. of data rooms.")] = None,
    rules: Annotated[str, typer.Option(help="paper (VSI-100k) or vsibench.")] = "paper",
    task: Annotated[Several, typer.Option(help="Only this task; repeatable.")] = None,
    total: Annotated[Several, typer.Option(help="TASK=N questions in all; repeatable.")] = None,
    per_scene: Annotated[Several, typer.Option(help="TASK=N, or N for all tasks; repeatable.")] = None,
    margin: Annotated[float, typer.Option(help="Metres that the nearest must be nearer (paper: 0).")] = 0.0,
    angle: Annotated[float, typer.Option(help="Degrees off the line of sight for left and right (paper: 0).")] = 0.0,
    labels: Annotated[Path | None, typer.Option(help="ScanNet's label map, where it is not in its folder.")] = None,
    published: Published = False,
    split: Split = "train",
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Make rows from scenes: ScanNet's files, a meta-info file, or rendered rooms."""
    from verl_vsi.data_adapters.questions import Ambiguity
    from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows

    with views.errors():
        found, source = _scenes(out, scannet, meta_info, scenes, labels, workers)
        quotas = _quotas(rules, total or [], per_scene or [])
        plan = BuildPlan(rules, seed, split, published, quotas, Ambiguity(margin, angle), task)
        with views.status("questions"):
            outcome = build_rows(out, found, plan, source)
    views.show_outcome(outcome)


def _scenes(
    out: Path, scannet: Path | None, meta: Path | None, scenes: Path | None, labels: Path | None, workers: int
) -> tuple[Iterator[Scene | Rejected] | list[Scene | Rejected], str]:
    """The one source that was given, and its name."""
    from verl_vsi.data_adapters.scannet.scans import label_map, read_scans, scan_folders
    from verl_vsi.data_adapters.scene_files import read_meta_info, read_scenes

    if sum(source is not None for source in (scannet, meta, scenes)) != 1:
        raise ValueError("give one source of scenes: --scannet DIR, --meta-info FILE or --scenes FILE")
    if scannet is not None:
        kept = out.with_suffix(".scenes.jsonl")
        found = read_scans(scan_folders(scannet), labels or label_map(scannet), kept, workers=workers)
        return list(found), "scannet"  # read before the questions' own progress starts
    if meta is not None:
        return read_meta_info(meta), meta.name
    assert scenes is not None
    return read_scenes(scenes), scenes.name


def _quotas(rules: str, total: list[str], per_scene: list[str]) -> Quotas | None:
    """The command line's quotas in place of the rule set's own; None: the rule set's own."""
    from verl_vsi.data_adapters.questions import Quotas, rule_set

    tasks = tuple(rule_set(rules).tasks)
    totals, limits = _numbers(total, tasks, "--total"), _numbers(per_scene, tasks, "--per-scene")
    return Quotas(totals, limits) if totals or limits else None


def _numbers(pairs: list[str], tasks: tuple[str, ...], option: str) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for pair in pairs:
        task, _, number = pair.rpartition("=")
        if not number.isdigit() or (task and task not in tasks):
            raise ValueError(f"{option} {pair}: expected TASK=N with TASK one of {', '.join(tasks)}")
        numbers |= dict.fromkeys([task] if task else tasks, int(number))
    return numbers


@app.command(epilog="Example: verl-vsi data rooms /data/vsi --split train --count 5000 --seed 1")
def rooms(
    root: Annotated[Path, typer.Argument(help="The data root; videos land in ROOT/rooms.")],
    split: Annotated[str, typer.Option(help="Name of the split.")],
    count: Annotated[int, typer.Option(min=1, help="How many rooms.")],
    seed: Annotated[int, typer.Option(min=0, help="The family of rooms; give every split its own.")],
    workers: Workers = 2,
) -> None:
    """Render rooms with exact 3D truth: mp4 files and a *.scenes.jsonl for data build. Needs no download."""
    from verl_vsi.data_adapters.synthetic_rooms import render_split
    from verl_vsi.data_adapters.synthetic_rooms.splits import scenes_file

    with views.errors():
        made = render_split(root, split, count, seed, workers=workers)
    views.say(f"{len(made)} rooms; next: verl-vsi data build ROWS --scenes {scenes_file(root, split)}")


@app.command("import", epilog="Example: verl-vsi data import rows/train.parquet --file VSI-100k.json")
def import_(
    out: Out,
    file: Annotated[Path, typer.Option(help="Ready-made questions: JSON, JSONL or parquet.")],
    map: Annotated[Several, typer.Option(help="FIELD=COLUMN where content does not tell; repeatable.")] = None,
    published: Published = False,
    split: Split = "train",
) -> None:
    """Bring in a ready-made question file, e.g. the hub's OPPOer/VSI-100k."""
    from verl_vsi.data_adapters.importers import import_rows, parse_mapping
    from verl_vsi.data_adapters.vsi100k import write_outcome

    about = {"builder": "data import", "source": file.name, "published": published}
    with views.errors(), views.status(f"reading {file.name}"):
        rows = import_rows(file, mapping=parse_mapping(map or []), published=published, split=split)
        outcome = write_outcome(out, rows, about)
    views.show_outcome(outcome)


@app.command(epilog="Example: verl-vsi data bench rows/vsibench.parquet --questions test.jsonl --zip scannet.zip")
def bench(
    out: Out,
    questions: Annotated[Path, typer.Option(help="test.jsonl or a parquet file of nyu-visionx/VSI-Bench.")],
    zip: Annotated[list[Path] | None, typer.Option(help="A zip of videos to unpack; repeatable.")] = None,
    root: Annotated[Path | None, typer.Option(envvar="VSI_ROOT", help="The data root, for --zip.")] = None,
    subset: Annotated[Literal["full", "debiased", "pruned"], typer.Option(help="Which questions.")] = "full",
    pruned_ids: Annotated[Path | None, typer.Option(help="pruned_ids.txt, for files without that column.")] = None,
) -> None:
    """Make rows of VSI-Bench's own questions, and unpack its videos under the data root."""
    from verl_vsi.data_adapters.vsi100k import write_outcome
    from verl_vsi.data_adapters.vsibench_download import benchmark_rows, read_ids

    about = {"builder": "data bench", "source": questions.name, "rules": "vsibench", "subset": subset}
    with views.errors():
        if zip and root is None:
            raise ValueError("--zip needs --root (or VSI_ROOT): the data root that videos are unpacked under")
        ids = None if pruned_ids is None else read_ids(pruned_ids)
        outcome = write_outcome(out, benchmark_rows(questions, subset, ids), about)
        for archive in zip or []:
            views.unpack(archive, root or Path())
    views.show_outcome(outcome)


@app.command(epilog="Example: verl-vsi data videos --scannet /data/scannet --root /data/vsi --rate 24")
def videos(
    scannet: Annotated[Path, typer.Option(help="ScanNet as downloaded: .sens files or folders of colour frames.")],
    root: Root,
    rate: Annotated[float, typer.Option(min=0.1, max=30, help="Frames a second; the benchmark's videos have 24.")] = 24,
    workers: Workers = 2,
) -> None:
    """Make ROOT/scannet/<scan>.mp4 from ScanNet's streams; those that are there are kept."""
    from verl_vsi.data_adapters.scannet.videos import scan_videos

    with views.errors():
        failed = views.watch(scan_videos(scannet, root, rate, workers))
    raise SystemExit(1 if failed else 0)


@app.command(epilog="Example: verl-vsi data check rows/train.parquet --root /data/vsi")
def check(
    rows: Annotated[list[Path] | None, typer.Argument(help="Parquet files of rows whose videos are wanted.")] = None,
    root: Annotated[Path | None, typer.Option(envvar="VSI_ROOT", help="The data root (vsi.root).")] = None,
    scannet: Annotated[Path | None, typer.Option(help="ScanNet's folder: look for the files a build needs.")] = None,
    scans: Annotated[Literal["train", "val"], typer.Option(help="Which of ScanNet's scans.")] = "train",
) -> None:
    """Say per scene what is missing and which official file holds it; exit status 1 where something is."""
    with views.errors():
        missing = list(_missing(rows or [], root, scannet, scans))
    views.show_missing(missing)
    raise SystemExit(1 if missing else 0)


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


@app.command(epilog="Example: verl-vsi data audit rows/train.parquet")
def audit(file: Rows) -> None:
    """Show overlap with the benchmark, duplicates, answers, chance and most-frequent-answer scores per task."""
    from verl_vsi.data_adapters.audit import audit as look_through
    from verl_vsi.data_adapters.rows import iter_rows, read_fingerprint

    with views.errors():
        mark, found = read_fingerprint(file), look_through(iter_rows(file))
    views.show_audit(file, mark, found)
