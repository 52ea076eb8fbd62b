"""What `verl-vsi data` prints: outcomes, progress, what is missing, audits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, track
from rich.table import Column, Table

if TYPE_CHECKING:
    from verl_vsi.data_adapters.audit import Audit, Missing, TaskAudit
    from verl_vsi.data_adapters.scannet.videos import ScanVideo
    from verl_vsi.data_adapters.vsi100k import RowsOutcome

console = Console()

SHOWN = 20
"""Lines of a long list that are printed."""


@contextmanager
def errors() -> Iterator[None]:
    """Print an expected error without its traceback, and exit with status 2; 130 on an interrupt, as shells do."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        console.print("interrupted; nothing is half-written, the same command goes on where it was")
        raise SystemExit(130) from None


def say(text: str) -> None:
    """Print a line."""
    console.print(escape(text), soft_wrap=True)


@contextmanager
def status(text: str) -> Iterator[None]:
    """A spinner while something runs."""
    with console.status(text):
        yield


def show_outcome(outcome: RowsOutcome) -> None:
    """What was written, and what was left out by reason."""
    mark = outcome.fingerprint
    published = " (published: the benchmark's scenes are in)" if mark["published"] else ""
    say(f"{outcome.path}: {mark['rows']} rows{published}, sha256 {mark['sha256'][:12]}")
    for reason, count in sorted(outcome.reasons.items(), key=lambda item: -item[1]):
        say(f"left out: {count} x {reason}")
    if outcome.rejected:
        say(f"each with its reason in {outcome.rejected}")


def unpack(archive: Path, root: Path) -> None:
    """Unpack a zip of videos with a progress bar."""
    from verl_vsi.data_adapters.vsibench_download import count_videos, extract_videos

    written = Counter(
        new for _, new in track(extract_videos(archive, root), archive.name, count_videos(archive), console=console)
    )
    say(f"{archive.name}: {written[True]} videos unpacked under {root}, {written[False]} were there")


def watch(results: Sequence[ScanVideo] | Iterator[ScanVideo]) -> int:
    """Show videos as they are made; return how many failed."""
    counts: Counter[str] = Counter()
    with Progress(console=console) as progress:
        bar = progress.add_task("videos")
        for result in results:
            counts[result.state] += 1
            progress.update(bar, total=result.total, advance=1)
            if result.state == "failed":
                progress.console.print(f"[red]{escape(result.detail)}[/]", soft_wrap=True)
    say(", ".join(f"{count} {state}" for state, count in counts.items()))
    return counts["failed"]


def show_missing(missing: Sequence[Missing]) -> None:
    """A table of what is missing, the first lines of it, and how many there are."""
    if not missing:
        say("nothing is missing")
        return
    table = Table(Column("scene", no_wrap=True), "missing", "where it comes from")
    for item in missing[:SHOWN]:
        table.add_row(item.scene, escape(item.what), escape(item.source))
    console.print(table)
    if len(missing) > SHOWN:
        say(f"... and {len(missing) - SHOWN} more")
    say(f"{len(missing)} missing, of {len({item.scene for item in missing})} scenes")


def show_audit(path: Path, mark: Mapping[str, Any], audit: Audit) -> None:
    """Everything the audit found."""
    origin = (
        f"{mark.get('builder')}, rules {mark.get('rules', '-')}, source {mark.get('source')}" if mark else "unknown"
    )
    say(f"{path}: {audit.rows} rows of {len(audit.scenes)} scenes; made by {origin}")
    _show_leaks(mark, audit)
    if audit.duplicates:
        spare = sum(audit.duplicates.values()) - len(audit.duplicates)
        say(f"duplicates: {spare} rows ask again; {len(audit.contradictions)} questions have several answers:")
        for scene, question in audit.contradictions[:SHOWN]:
            say(f"  {scene}: {question}")
    else:
        say("duplicates: none")
    table = Table(Column("task", no_wrap=True), "rows", "chance", "most frequent", "its score", "answers")
    for task, found in audit.tasks.items():
        table.add_row(*_task_row(task, found))
    console.print(table)
    say("scores in %: exact match, or mean relative accuracy for numbers (VSI-Bench)")


def _show_leaks(mark: Mapping[str, Any], audit: Audit) -> None:
    if not audit.leaks:
        say("overlap with VSI-Bench: none; ScanNet val scans: none")
        return
    meant = "; the file says so itself (published)" if mark.get("published") else ""
    counts = f"{len(audit.benchmark)} of its scenes; ScanNet val scans: {len(audit.val_scans)}"
    console.print(f"[red]overlap with VSI-Bench: {counts}{meant}[/]", soft_wrap=True)
    names = audit.benchmark or audit.val_scans
    say("  " + ", ".join(names[:SHOWN]) + (f", ... and {len(names) - SHOWN} more" if len(names) > SHOWN else ""))


def _task_row(task: str, found: TaskAudit) -> list[str]:
    common = sorted(found.answers.items(), key=lambda item: (-item[1], item[0]))[:4]
    spread = ", ".join(f"{answer} {100 * n / found.rows:.0f}%" for answer, n in common)
    chance = "-" if found.chance is None else f"{100 * found.chance:.1f}"
    kinds = f"{spread} ({len(found.answers)} different)"
    return [task, str(found.rows), chance, found.most_frequent, f"{100 * found.most_frequent_score:.1f}", kinds]
