"""Rows that were made, and those that were not, in a file beside them with the reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.rows import NoRowsError, write_rows
from verl_vsi.data_adapters.sources.rejected import Rejected


@dataclass(frozen=True)
class Outcome:
    """What came of a build or an import.

    Args:
        path: the parquet file.
        fingerprint: as in its metadata; ``rows`` says how many.
        reasons: why things were left out -> how many.
        rejected: the file that lists them; None: nothing was left out.
    """

    path: Path
    fingerprint: Mapping[str, Any]
    reasons: Mapping[str, int]
    rejected: Path | None


def rejected_file(path: str | Path) -> Path:
    """``train.rejected.jsonl`` beside ``train.parquet``."""
    return Path(path).with_suffix(".rejected.jsonl")


def write_outcome(path: str | Path, items: Iterable[dict[str, Any] | Rejected], about: Mapping[str, Any]) -> Outcome:
    """Write rows to `path` and what was rejected beside it.

    Raises:
        NoRowsError: no row was left; the file of rejections is written all the same.
    """
    rejected: list[Rejected] = []
    try:
        mark = write_rows(path, _kept(items, rejected), about)
    except NoRowsError as error:
        counts = ", ".join(f"{n} x {reason}" for reason, n in Counter(r.reason for r in rejected).items())
        hint = f"all was left out: {counts}; see {rejected_file(path)}" if rejected else "there was nothing to ask"
        raise NoRowsError(f"{error}; {hint}") from None
    finally:
        listing = _write_rejected(rejected_file(path), rejected)
    return Outcome(Path(path), mark, Counter(r.reason for r in rejected), listing)


def _kept(items: Iterable[dict[str, Any] | Rejected], rejected: list[Rejected]) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, Rejected):
            rejected.append(item)
        else:
            yield item


def _write_rejected(path: Path, rejected: list[Rejected]) -> Path | None:
    if not rejected:
        path.unlink(missing_ok=True)  # a former build's
        return None
    write_text(path, "".join(json.dumps(asdict(r)) + "\n" for r in rejected))
    return path
