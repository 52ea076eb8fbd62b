"""The same work on many things, in processes, in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_processes(work: Callable[[T], R], things: Sequence[T], workers: int, chunk: int = 1) -> Iterator[R]:
    """``map(work, things)`` in `workers` fresh processes; here where there is too little to share.

    Args:
        work: a function that pickles.
        things: what to work on; results come in this order.
        workers: processes; 1 works in this one.
        chunk: things that a process takes at a time.
    """
    if workers <= 1 or len(things) <= chunk:
        yield from map(work, things)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        try:
            yield from pool.map(work, things, chunksize=chunk)
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever: end it."""
    parent = parent_process()
    assert parent is not None, "only workers end with their parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
