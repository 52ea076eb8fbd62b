"""Records of a JSON, JSONL or parquet file, told apart by their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from verl_vsi.data_adapters.json_files import Unreadable, first_character, json_lines, read_document
from verl_vsi.data_adapters.parquet_files import DAMAGE, batches
from verl_vsi.data_adapters.schema import Rejected

Record = dict[str, Any]


def load_records(path: str | Path) -> Iterator[tuple[str, Record | Rejected]]:
    """One record a row, after the words that name it; JSON may be a list, or an object that holds one list.

    Yields:
        a `Rejected` in place of a line or an element that is no record.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: none of the three formats, or nothing in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(4)
    if start[:1] == b"\x80" or start in (b"\x93NUM", b"PK\x03\x04"):
        raise ValueError(
            f"{path}: a pickled or packed array (numpy, torch or zip), which may run code when it is read; it is not "
            "opened. Take the set's JSON or parquet file, or convert it where you trust it"
        )
    if not start.strip():
        raise ValueError(f"{path}: the file is empty")
    yield from _parquet(path) if start == b"PAR1" else _text(path)


def _parquet(path: Path) -> Iterator[tuple[str, Record]]:
    number = 0
    try:
        _check_columns(pq.read_schema(path).names, path)
        for batch in batches(path):
            for record in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", record
    except DAMAGE as error:
        raise ValueError(f"{path}: can't be read after row {number} ({error}); download it again") from error
    if not number:
        raise ValueError(f"{path}: the file has no rows")


def _check_columns(names: list[str], path: Path) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: two columns are called '{twice[0]}'; rename one")


def _text(path: Path) -> Iterator[tuple[str, Record | Rejected]]:
    if _is_lines(path):
        for where, value in json_lines(path):
            row = where.replace(", line ", ", row ")
            yield row, Rejected(row, "not a record", value.reason) if isinstance(value, Unreadable) else value
    else:
        yield from _document(path)


def _is_lines(path: Path) -> bool:
    """Whether the first or the second line is one record; a lone line may as well be an object that holds them all."""
    if first_character(path) == "[":
        return False
    try:
        first = [value for _, value in islice(json_lines(path), 2)]
    except ValueError:
        return False  # a document in one long line, or something else: reading it whole says so
    if len(first) == 1:
        lone = first[0]
        return isinstance(lone, dict) and not (len(lone) == 1 and isinstance(next(iter(lone.values())), list))
    return any(isinstance(value, dict) and value for value in first)


def _document(path: Path) -> Iterator[tuple[str, Record | Rejected]]:
    try:
        content = read_document(path)
    except ValueError as error:
        raise ValueError(f"{error}\nneither parquet, JSON nor JSONL can be read in it; convert it to one") from error
    lists = [v for v in content.values() if isinstance(v, list)] if isinstance(content, dict) else [content]
    if len(lists) != 1 or not isinstance(lists[0], list) or not any(isinstance(r, dict) for r in lists[0] or [{}]):
        raise ValueError(f"{path}: expected a list of records, or an object that holds one")
    if not lists[0]:
        raise ValueError(f"{path}: the file has no rows")
    for number, record in enumerate(lists[0], 1):
        where = f"{path}, row {number}"
        yield where, record if isinstance(record, dict) else Rejected(where, "not a record", f"{record!r:.80}")
