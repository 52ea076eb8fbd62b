"""What `verl-vsi data` prints: outcomes, progress, what is missing, audits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import Progress, track
from rich.table import Column, Table

from verl_vsi.commands._common import console, say

if TYPE_CHECKING:
    from verl_vsi.data_adapters.audit import Audit, Missing, TaskAudit
    from verl_vsi.data_adapters.scannet.videos import ScanVideo
    from verl_vsi.data_adapters.shortcuts import Shortcut
    from verl_vsi.data_adapters.vsi100k import RowsOutcome

SHOWN = 20
"""Lines of a long list that are printed."""


def show_outcome(outcome: RowsOutcome) -> None:
    """What was written, and what was left out by reason."""
    fingerprint = outcome.fingerprint
    published = " (published: the benchmark's scenes are in)" if fingerprint["published"] else ""
    say(f"{outcome.path}: {fingerprint['rows']} rows{published}, sha256 {fingerprint['sha256'][:12]}")
    for reason, count in sorted(outcome.reasons.items(), key=lambda item: -item[1]):
        say(f"left out: {count} x {reason}")
    if outcome.rejected:
        say(f"each with its reason in {outcome.rejected}")


def unpack(archive: Path, root: Path) -> None:
    """Unpack a zip of videos with a progress bar.

    Args:
        archive: the zip.
        root: the data root.
    """
    from verl_vsi.data_adapters.vsibench_download import count_videos, extract_videos

    written = Counter(
        new for _, new in track(extract_videos(archive, root), archive.name, count_videos(archive), console=console)
    )
    say(f"{archive.name}: {written[True]} videos unpacked under {root}, {written[False]} were there")


def show_videos(results: Iterable[ScanVideo]) -> int:
    """Show videos as they are made; return how many failed."""
    counts: Counter[str] = Counter()
    with Progress(console=console) as progress:
        bar = progress.add_task("videos")
        for result in results:
            counts[result.state] += 1
            progress.update(bar, total=result.total, advance=1)
            if result.state == "failed":
                say(result.detail, "red")
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


def show_audit(path: Path, fingerprint: Mapping[str, Any], audit: Audit) -> None:
    """Everything that an audit has to say.

    Args:
        path: the file of rows.
        fingerprint: what the file says of its making.
        audit: of its rows.
    """
    builder, rules, source = (fingerprint.get(key, "-") for key in ("builder", "rules", "source"))
    origin = f"{builder}, rules {rules}, source {source}" if fingerprint else "unknown"
    say(f"{path}: {audit.rows} rows of {len(audit.scenes)} scenes; made by {origin}")
    if fingerprint.get("sha256", audit.sha256) != audit.sha256:
        say("its rows are not those that the fingerprint is of: the file was edited; build or import it again", "red")
    _show_leaks(bool(fingerprint.get("published")), audit)
    _show_problems(audit)
    if audit.duplicates:
        spare = sum(audit.duplicates.values()) - len(audit.duplicates)
        say(f"duplicates: {spare} rows ask again; {len(audit.contradictions)} questions have several answers:")
        for scene, question in audit.contradictions[:SHOWN]:
            say(f"  {scene}: {question}")
    else:
        say("duplicates: none")
    table = Table(Column("task", no_wrap=True), "rows", "chance", "most frequent", "its score", "answers")
    for task, task_audit in audit.tasks.items():
        table.add_row(*_task_row(task, task_audit))
    console.print(table)
    say("scores in %: exact match, or mean relative accuracy for numbers (VSI-Bench)")
    _show_support(audit)


def _show_support(audit: Audit) -> None:
    """Shares of the questions that sampled frames do not support, where rows say."""
    choices = list(dict.fromkeys(choice for task in audit.tasks.values() for choice in task.unsupported))
    if not choices:
        say("whether the sampled frames show what is asked: the rows do not say (data build from rooms or --scannet)")
        return
    table = Table(Column("not supported by the frames, %", no_wrap=True), *choices)
    for name, task in audit.tasks.items():
        shares = (task.unsupported.get(choice) for choice in choices)
        table.add_row(name, *["-" if share is None else f"{100 * share:.1f}" for share in shares])
    console.print(table)


def _show_leaks(published: bool, audit: Audit) -> None:
    if not audit.leaks:
        say("overlap with VSI-Bench: none; ScanNet val scans: none")
        return
    meant = "; the file says so itself (published)" if published else ""
    counts = f"{len(audit.benchmark)} of its scenes; ScanNet val scans: {len(audit.val_scans)}"
    say(f"overlap with VSI-Bench: {counts}{meant}", "red")
    names = audit.benchmark or audit.val_scans
    say("  " + ", ".join(names[:SHOWN]) + (f", ... and {len(names) - SHOWN} more" if len(names) > SHOWN else ""))


def _show_problems(audit: Audit) -> None:
    """Rows that can't be used, and those that share a number."""
    if audit.repeated_indices:
        say(f"{audit.repeated_indices} rows share their extra_info.index with another: number them anew", "red")
    rows = sum(map(len, audit.problems.values()))
    if rows:
        say(f"{rows} rows can't be scored, and are left out below:", "red")
        for problem, numbers in list(audit.problems.items())[:SHOWN]:
            say(f"  row {numbers[0]}{f' and {len(numbers) - 1} more' if len(numbers) > 1 else ''}: {problem}")


def show_shortcuts(shortcuts: Mapping[str, Shortcut]) -> None:
    """What a model of the words alone scores, per task and over all questions that it answered."""
    table = Table(Column("task", no_wrap=True), "rows", "answerable without video, %")
    for task, shortcut in shortcuts.items():
        score = "-" if shortcut.score is None else f"{100 * shortcut.score:.1f}"
        table.add_row(task, str(shortcut.rows), score)
    console.print(table)
    scores = [shortcut.score for shortcut in shortcuts.values() if shortcut.score is not None]
    if scores:
        say(f"answerable without video: {100 * sum(scores) / len(scores):.1f} %, mean of the tasks; scenes apart")


def show_copies(copies: Mapping[str, str]) -> None:
    """Videos that are the benchmark's under another name, or are called as the benchmark calls them."""
    for video, scene in list(copies.items())[:SHOWN]:
        say(f"{video} is the video of {scene}, a scene of VSI-Bench", "red")
    say(f"videos with the content of the benchmark's: {len(copies)}")


def _task_row(task: str, audit: TaskAudit) -> list[str]:
    common = sorted(audit.answers.items(), key=lambda item: (-item[1], item[0]))[:4]
    shares = ", ".join(f"{answer} {100 * n / audit.rows:.0f}%" for answer, n in common)
    chance = "-" if audit.chance is None else f"{100 * audit.chance:.1f}"
    answers = f"{shares} ({len(audit.answers)} different)"
    return [task, str(audit.rows), chance, audit.most_frequent, f"{100 * audit.most_frequent_score:.1f}", answers]
