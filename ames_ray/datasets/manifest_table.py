"""Rows of a manifest as Arrow columns, in memory or in a Parquet file that is read piece by piece."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from bisect import bisect_right
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ames_ray.errors import DatasetError
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        ("split", pa.string()),
        ("left", pa.float64()),
        ("top", pa.float64()),
        ("right", pa.float64()),
        ("bottom", pa.float64()),
        ("label", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
"""Columns of a manifest file, one row an image; `uri` is relative to the root in the file's metadata."""
GROUP_ROWS = 4096
"""Rows of a row group: what a worker holds in memory."""
HELD_GROUPS = 16
"""Row groups of a new list that stay in memory; a longer list goes to a temporary file."""
_FILE = "list.parquet"


class Table(Protocol):
    """Rows by range, from memory or from a file."""

    def __len__(self) -> int: ...

    def slice(self, offset: int, length: int) -> pa.Table:
        """Rows offset … offset + length - 1, fewer at the end."""


class ParquetTable:
    """Rows of a Parquet file by range; holds one row group at a time, and no open file."""

    def __init__(self, storage: Storage, name: str, metadata: pq.FileMetaData) -> None:
        self._storage = storage
        self._name = name
        self._metadata = metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        self._held: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def slice(self, offset: int, length: int) -> pa.Table:
        """Rows offset … offset + length - 1, fewer at the end."""
        stop = min(offset + length, len(self))
        parts = []
        # The groups of a long list are many, those of a range few.
        group = bisect_right(self._starts, offset) - 1
        while offset < stop:
            first, last = self._starts[group : group + 2]
            parts.append(self._group(group).slice(offset - first, min(stop, last) - offset))
            offset, group = last, group + 1
        return pa.concat_tables(parts) if parts else SCHEMA.empty_table()

    def _group(self, group: int) -> pa.Table:
        held = self._held
        if held is None or held[0] != group:
            with self._storage.open(self._name) as handle:
                file = pq.ParquetFile(handle, metadata=self._metadata)
                held = (group, file.read_row_group(group, columns=SCHEMA.names).replace_schema_metadata())
            self._held = held
        return held[1]


class SpilledTable(ParquetTable):
    """Rows in a temporary file, which goes when the table does.

    Args:
        batches: The rows, `GROUP_ROWS` in each batch but the last.

    Raises:
        DatasetError: There is no room for them.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        folder = tempfile.mkdtemp(prefix="ames-ray-list-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        storage = Storage.at(folder)
        path = storage.path(_FILE)
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for batch in batches:
                _write(writer, batch, folder)
        super().__init__(storage, _FILE, pq.read_metadata(path))


def _write(writer: pq.ParquetWriter, batch: pa.RecordBatch, folder: str) -> None:
    try:
        writer.write_batch(batch, row_group_size=GROUP_ROWS)
    except OSError as error:
        raise DatasetError(
            f"the list cannot be kept in {folder}: {error}", "set TMPDIR to a folder with room"
        ) from None


def collect(batches: Iterable[pa.RecordBatch]) -> Table:
    """Rows of a new list; memory does not grow with a long one.

    Args:
        batches: The rows, `GROUP_ROWS` in each batch but the last.
    """
    source = iter(batches)
    held = list(islice(source, HELD_GROUPS + 1))
    if len(held) > HELD_GROUPS:
        return SpilledTable(chain(held, source))
    table: Table = pa.Table.from_batches(held, SCHEMA)
    return table


def columns(table: pa.Table) -> list[list[Any]]:
    """The columns of SCHEMA as Python values."""
    return [column.to_pylist() for column in table.columns]


def rows_digest(table: Table, count: int) -> str:
    """SHA-256 of the first `count` rows, each a line of JSON, so that any language can recompute it."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    running = hashlib.sha256()
    for start in range(0, count, GROUP_ROWS):
        rows = zip(*columns(table.slice(start, min(GROUP_ROWS, count - start))), strict=True)
        running.update("".join(f"{encode(row)}\n" for row in rows).encode())
    return running.hexdigest()
