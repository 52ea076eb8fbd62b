"""Long work: shared out to processes, and a log of what is done, so that an interrupted call goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from verl_vsi.data_adapters.files import full_disk_named, write_text
from verl_vsi.data_adapters.processes import WorkerPool

T = TypeVar("T")
R = TypeVar("R")


def in_processes(function: Callable[[T], R], items: Sequence[T], workers: int, least: int = 2) -> Iterator[R]:
    """``map(function, items)`` in `workers` fresh processes; here where there is too little to share.

    Args:
        function: one that pickles.
        items: what to call it with; results come in this order.
        workers: processes; 1 works in this one.
        least: fewer items than this are worked on here.

    Raises:
        ChildProcessError: a worker was killed; says the likely cause.
    """
    if workers <= 1 or len(items) < least:
        yield from map(function, items)
        return
    pool = WorkerPool(workers)
    with ThreadPoolExecutor(workers) as threads:
        try:
            yield from threads.map(lambda item: pool.call(function, item), items)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.end()


Line = dict[str, Any]
"""What a log says of one finished item: a JSON object with an ``id``."""


class Worklog:
    """JSON lines of finished work, appended to ``<path>.part`` until `finish` writes them to `path` in order.

    Args:
        path: the file that is there only when all is done.
        still_good: whether a former run's line may be kept; a line cut short by a kill never is.
    """

    def __init__(self, path: Path, still_good: Callable[[Line], bool]) -> None:
        """Read what former runs left."""
        self.path, self.part = path, path.with_suffix(".part")
        self.lines = {line["id"]: line for file in (path, self.part) for line in _lines(file) if still_good(line)}
        self._file: TextIO | None = None

    def __enter__(self) -> Worklog:
        """Start the part file afresh from what is kept."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.part, "".join(json.dumps(line) + "\n" for line in self.lines.values()))
        self._file = self.part.open("a", encoding="utf-8")
        return self

    def add(self, line: Line) -> None:
        """Note one item as done; it survives a kill from here on."""
        assert self._file is not None, "add lines inside the with block"
        self.lines[line["id"]] = line
        with full_disk_named(self.part):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def finish(self, ids: Sequence[str]) -> None:
        """Write the lines of `ids`, in that order, as the final file."""
        write_text(self.path, "".join(json.dumps(self.lines[i]) + "\n" for i in ids))
        self.part.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the part file; it stays. On a full disk, what could not be written fails here once more."""
        if self._file is not None:
            with full_disk_named(self.part):
                self._file.close()


def _lines(path: Path) -> list[Line]:
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # cut short
    return lines
