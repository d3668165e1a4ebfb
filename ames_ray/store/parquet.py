"""Shards as plain Parquet files, readable with pyarrow, pandas and DuckDB alone.

Arrays are `fixed_size_binary` columns, padded to `topk` and uncompressed: tensor columns need Ray to be read,
and variable lists overflow at 2 GB. Their types and shapes are JSON in the file's metadata, key `ames_ray`:
`numpy.frombuffer(value, dtype).reshape(shape)`. Pages carry checksums, which every read compares.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ames_ray.store.codec import NUMBERS, TEXTS, Block, describe, encode, payload_kinds, require_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ames_ray.store.codec import Kind
    from ames_ray.store.meta import StoreMeta
    from ames_ray.types import AnyArray, ImageFeatures, IntArray

METADATA_KEY = b"ames_ray"
GROUP_BYTES = 2 << 20
"""Payload of a row group: what a writer holds in memory, and what a random read has to fetch."""


def group_rows(meta: StoreMeta) -> int:
    """Rows of a row group; it depends on the store alone, so the bytes do, too."""
    return max(1, min(meta.shard_rows, GROUP_BYTES // max(1, meta.row_bytes)))


def schema(meta: StoreMeta, shard: int, start: int, stop: int) -> pa.Schema:
    """Columns of a shard, and what its metadata says."""
    kinds = payload_kinds(meta)
    about = describe(meta) | {"rows": [start, stop], "settings": meta.settings, "shard": shard}
    columns = [pa.field("row", pa.int64(), nullable=False)]
    columns += [pa.field(name, pa.string(), nullable=name in {"reason", "flag"}) for name in TEXTS]
    columns += [pa.field(name, pa.int32(), nullable=False) for name in NUMBERS if name != "row"]
    columns += [pa.field(name, pa.binary(_width(kind)), nullable=False) for name, kind in kinds.items()]
    return pa.schema(columns, {METADATA_KEY: json.dumps(about, sort_keys=True)})


class ParquetWriter:
    """Writes one shard row group by row group.

    Args:
        path: Local file to make.
        meta: What the store holds.
        shard: Number of the shard.
        start: Its first row.
        stop: The row after its last.
    """

    def __init__(self, path: Path, meta: StoreMeta, shard: int, start: int, stop: int) -> None:
        self._meta = meta
        self._schema = schema(meta, shard, start, stop)
        self._file = pq.ParquetWriter(
            path,
            self._schema,
            compression="none",
            use_dictionary=False,
            # Minimum and maximum of a payload would double its size.
            write_statistics=["row"],
            write_page_checksum=True,
        )

    def append(self, features: Sequence[ImageFeatures], uris: Sequence[str]) -> None:
        """Write rows as one row group."""
        block = encode(features, uris, self._meta)
        columns = [_to_arrow(block, item) for item in self._schema]
        self._file.write_batch(pa.record_batch(columns, schema=self._schema), row_group_size=len(block))

    def close(self) -> None:
        """Write the end of the file."""
        self._file.close()


class ParquetShard:
    """Reads one shard.

    Args:
        source: Local path, or the file open for reading.
        meta: What the store holds.
    """

    def __init__(self, source: str | IO[bytes], meta: StoreMeta) -> None:
        self._file = pq.ParquetFile(source, page_checksum_verification=True)
        self._kinds = payload_kinds(meta)
        require_arrays((self._file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"), meta)
        counts = [self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *counts])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return int(self._file.metadata.num_rows)

    def blocks(self) -> Iterator[Block]:
        """All rows in order, a row group at a time."""
        for group in range(self._file.num_row_groups):
            table = self._file.read_row_group(group)
            texts = {name: table.column(name).to_pylist() for name in TEXTS}
            yield Block(texts, {name: self._to_numpy(table, name) for name in (*NUMBERS, *self._kinds)})

    def texts(self, name: str) -> list[str | None]:
        """A whole column of strings."""
        values: list[str | None] = self._file.read([name]).column(name).to_pylist()
        return values

    def column(self, name: str) -> AnyArray:
        """A whole column of numbers or arrays."""
        return self._to_numpy(self._file.read([name]), name)

    def descriptors(self, rows: IntArray, count: int) -> tuple[AnyArray, IntArray]:
        """The first `count` descriptors of some rows, and how many of all are real.

        Args:
            rows: (B,) rows of this shard, counted from its first, in any order.
            count: Descriptors of a row.

        Returns:
            (B, count, width) as stored, and (B,).
        """
        dtype, (_, width) = self._kinds["descriptors"]
        found = np.empty((len(rows), count, width), dtype)
        real = np.empty(len(rows), np.int64)
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        for group in np.unique(groups):
            table = self._file.read_row_group(int(group), ["descriptors", "count"])
            here = groups == group
            local = rows[here] - self._starts[group]
            found[here] = self._to_numpy(table, "descriptors")[local, :count]
            real[here] = self._to_numpy(table, "count")[local]
        return found, real

    def _to_numpy(self, table: pa.Table, name: str) -> AnyArray:
        dtype, shape = self._kinds.get(name) or (np.dtype(NUMBERS[name]), ())
        width = _width((dtype, shape))
        parts = []
        for chunk in table.column(name).chunks:
            data = memoryview(chunk.buffers()[1])[chunk.offset * width : (chunk.offset + len(chunk)) * width]
            parts.append(np.frombuffer(data, dtype).reshape(len(chunk), *shape))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, *shape), dtype)


def _width(kind: Kind) -> int:
    dtype, shape = kind
    return dtype.itemsize * int(np.prod(shape, dtype=np.int64))


def _to_arrow(block: Block, item: pa.Field) -> pa.Array:
    if item.name in TEXTS:
        return pa.array(block.texts[item.name], item.type)
    buffer = pa.py_buffer(np.ascontiguousarray(block.arrays[item.name]))
    return pa.Array.from_buffers(item.type, len(block), [None, buffer])
