"""All scans of a ScanNet download, read in parallel; what is read is kept, so an interrupted call goes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.progress import track

from verl_vsi.data_adapters.journal import Journal, Line
from verl_vsi.data_adapters.parallel import in_processes
from verl_vsi.data_adapters.records import from_record, to_record
from verl_vsi.data_adapters.scenes import Scene
from verl_vsi.data_adapters.sources.rejected import Rejected
from verl_vsi.data_adapters.sources.scannet import FILES, LABELS, read_labels, read_scan

READER = "scannet-1"
"""Raise this when scans are read differently: kept scenes of another reader are read again."""


def scan_folders(root: str | Path) -> list[Path]:
    """Folders of scans under ``root/scans`` or `root`, by name.

    Raises:
        FileNotFoundError: there is none.
    """
    root = Path(root)
    base = root / "scans" if (root / "scans").is_dir() else root
    folders = sorted(p for p in base.glob("scene????_??") if p.is_dir())
    if not folders:
        raise FileNotFoundError(
            f"{base}: no folder like scene0000_00; give the folder that download-scannet.py wrote to"
        )
    return folders


def label_map(root: str | Path) -> Path:
    """``scannetv2-labels.combined.tsv`` in the download's folder."""
    return Path(root) / LABELS


def read_scans(
    folders: list[Path], labels: Path, kept: Path, *, workers: int = 2, quiet: bool = False
) -> Iterator[Scene | Rejected]:
    """Scenes in the order of `folders`.

    Args:
        folders: from `scan_folders`.
        labels: the label map.
        kept: a ``*.scenes.jsonl`` that keeps what was read; scans whose files are unchanged are taken from it.
        workers: processes.
        quiet: no progress bar.
    """
    rejected: dict[str, Rejected] = {}
    names = read_labels(labels)
    by_name = {folder.name: folder for folder in folders}
    with Journal(kept, partial(_still_good, by_name)) as journal:
        todo = [folder for folder in folders if folder.name not in journal.lines]
        found = in_processes(partial(read_scan, labels=names), todo, workers, chunk=4)
        for folder, scene in zip(todo, track(found, "scans", len(todo), disable=quiet or not todo), strict=True):
            if isinstance(scene, Rejected):
                rejected[folder.name] = scene
            else:
                journal.add(to_record(scene) | {"reader": READER, "stamp": _stamp(folder)})
        journal.finish([name for name in by_name if name in journal.lines])
    for name in by_name:
        yield rejected.get(name) or from_record(journal.lines[name], str(kept))


def _stamp(folder: Path) -> list[list[int]]:
    """Size and time of a scan's files."""
    stats = [(folder / f"{folder.name}{end}").stat() for end in FILES]
    return [[s.st_size, s.st_mtime_ns] for s in stats]


def _still_good(folders: dict[str, Path], line: Line) -> bool:
    folder = folders.get(line["id"])
    try:
        return folder is not None and line.get("reader") == READER and line["stamp"] == _stamp(folder)
    except FileNotFoundError:
        return False
