"""Records of a JSON, JSONL or parquet file, told apart by their bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from verl_vsi.data_adapters.files import read_json_lines

Record = dict[str, Any]


def load_records(path: str | Path) -> Iterator[Record]:
    """One record a row; JSON may be a list, or an object that holds one list.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: none of the three formats, or nothing in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(4)
    if not start.strip():
        raise ValueError(f"{path}: the file is empty")
    yield from _parquet(path) if start == b"PAR1" else _text(path)


def _parquet(path: Path) -> Iterator[Record]:
    with pq.ParquetFile(path) as file:
        if not file.metadata.num_rows:
            raise ValueError(f"{path}: the file has no rows")
        for batch in file.iter_batches(4096):
            yield from batch.to_pylist()


def _text(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as file:
        first, second = file.readline(), file.readline()
    if _is_record(first, alone=not second.strip()):
        yield from (record for _, record in read_json_lines(path))
    else:
        yield from _document(path)


def _is_record(line: str, alone: bool) -> bool:
    """Whether a line is one record of many; a lone line may as well be an object that holds them all."""
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(content, dict) and not (alone and len(content) == 1)


def _document(path: Path) -> Iterator[Record]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: neither parquet, JSON nor JSONL ({error})") from error
    lists = [v for v in content.values() if isinstance(v, list)] if isinstance(content, dict) else [content]
    if len(lists) != 1 or not isinstance(lists[0], list) or not all(isinstance(r, dict) for r in lists[0]):
        raise ValueError(f"{path}: expected a list of records, or an object that holds one")
    if not lists[0]:
        raise ValueError(f"{path}: the file has no rows")
    yield from lists[0]
