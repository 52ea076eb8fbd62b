"""Parquet files of others, read in bounded memory: a few kilobytes can hold one long value for millions of rows.

What a file unpacks to is counted as it is read, because its metadata knows only encoded sizes, and may lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MAX_BATCH = 2**26
"""Bytes of rows that are in memory at a time, about."""

MAX_SMALL, MAX_GROWTH = 2**28, 200
"""Bytes that any file may unpack to, and times its size that a file may beyond them."""

DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What pyarrow raises on a damaged file, here or as values become Python's."""


def batches(path: Path, rows: int = 4096, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All of a file's rows, some at a time.

    Args:
        path: the file.
        rows: at most, in a batch; fewer where values may be long.
        columns: to read; all by default.

    Raises:
        ValueError: it unpacks to more than it may.
        pyarrow.ArrowException, OSError: it is damaged (`DAMAGE`).
    """
    bound = max(MAX_SMALL, MAX_GROWTH * path.stat().st_size)
    unpacked = 0
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        size = max(1, min(rows, MAX_BATCH // _longest_value(file.metadata)))
        for encoded in file.iter_batches(size, columns=columns):
            batch = _decoded(encoded)
            unpacked += batch.nbytes
            if unpacked > bound:
                raise ValueError(
                    f"{path}: unpacks to more than {bound / 2**20:,.0f} MiB (parquet_files.MAX_GROWTH); is it what it "
                    "says it is? Split it if so"
                )
            yield batch


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Every value in its place, where the file asks for a dictionary and places in it."""
    columns = [column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column for column in batch]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _longest_value(metadata: pq.FileMetaData) -> int:
    """Bytes that one value of any column can have: all of its chunk's."""
    chunks = (
        metadata.row_group(group).column(column).total_uncompressed_size
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    )
    return max(1, *chunks, 1)
