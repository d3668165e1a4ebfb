"""Shards as HDF5 files in the authors' layout, and one virtual file that joins them.

`features` is what the authors' readers look for: plain for codec=float32, else compound. Beside it lie the
columns of a Parquet shard, for exactness. `features` is contiguous; each row has a CRC-32 in `checksum`. The
small columns are chunked with HDF5's own checksums.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import IO, TYPE_CHECKING, Any

import h5py
import numpy as np

from ames_ray.store.authors import (
    LEADING,
    SCALE,
    WEIGHT,
    compound_dtype,
    compound_rows,
    leading_columns,
    plain_rows,
)
from ames_ray.store.codec import NUMBERS, TEXTS, Block, describe, encode, payload_kinds, require_arrays
from ames_ray.store.parquet import group_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ames_ray.store.meta import ShardSummary, StoreMeta
    from ames_ray.types import AnyArray, ImageFeatures, IntArray

FEATURES = "features"
CHECKSUM = "checksum"
ATTRIBUTE = "ames_ray"
PARTS = "ames_ray_parts"


def contiguous(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.Dataset:
    """A contiguous dataset whose space in the file is taken at once; every row is to be written."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype, dcpl=plan)


def reserve(file: h5py.File) -> None:
    """Take the blocks of the file's present length from the disk.

    A full disk must show here, as a clean error: in the middle of a write HDF5 raises at the write, again at
    the close, and leaves a file that opens with its full shape.
    """
    file.flush()
    os.posix_fallocate(file.id.get_vfd_handle(), 0, file.id.get_filesize())


def features_kind(meta: StoreMeta) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and row shape of the authors' `features` for a store."""
    dtype, shape = payload_kinds(meta)["descriptors"]
    if meta.codec == "float32":
        return np.dtype("<f4"), (meta.topk, LEADING + meta.dim)
    return compound_dtype(dtype, shape[1]), (meta.topk,)


class Hdf5Writer:
    """Writes one shard some rows at a time.

    Args:
        path: Local file to make.
        meta: What the store holds.
        shard: Number of the shard.
        start: Its first row.
        stop: The row after its last.
    """

    def __init__(self, path: Path, meta: StoreMeta, shard: int, start: int, stop: int) -> None:
        self._meta = meta
        self._at = 0
        self._texts: dict[str, list[str]] = {name: [] for name in TEXTS}
        rows, chunk = stop - start, max(1, min(group_rows(meta), stop - start))
        self._file = h5py.File(path, "w")
        about = describe(meta) | {"rows": [start, stop], "settings": meta.settings, "shard": shard}
        self._file.attrs[ATTRIBUTE] = json.dumps(about, sort_keys=True)
        dtype, shape = features_kind(meta)
        contiguous(self._file, FEATURES, (rows, *shape), dtype)
        for name, (kind, inner) in _columns(meta).items():
            self._file.create_dataset(
                name, (rows, *inner), kind, chunks=(chunk, *inner) if rows else None, fletcher32=rows > 0
            )
        reserve(self._file)

    def append(self, features: Sequence[ImageFeatures], uris: Sequence[str]) -> None:
        """Write the next rows."""
        block = encode(features, uris, self._meta)
        columns = leading_columns(features, block, self._meta.settings)
        make = plain_rows if self._meta.codec == "float32" else compound_rows
        rows = make(columns, block.arrays["descriptors"])
        here = slice(self._at, self._at + len(block))
        self._file[FEATURES][here] = rows
        self._file[CHECKSUM][here] = _checksums(rows)
        for name in _columns(self._meta):
            if name != CHECKSUM:
                self._file[name][here] = block.arrays[name]
        for name, values in block.texts.items():
            self._texts[name] += [value or "" for value in values]
        self._at += len(block)

    def close(self) -> None:
        """Write the columns of strings and the end of the file."""
        if self._file and self._at == len(self._file[FEATURES]):
            for name, values in self._texts.items():
                self._file.create_dataset(name, data=values, dtype=h5py.string_dtype(), shape=(len(values),))
        self._file.close()


class Hdf5Shard:
    """Reads one shard.

    Args:
        source: Local path, or the file open for reading.
        meta: What the store holds.
    """

    def __init__(self, source: str | IO[bytes], meta: StoreMeta) -> None:
        self._meta = meta
        self._file = h5py.File(source, "r")
        require_arrays(self._file.attrs.get(ATTRIBUTE, "{}"), meta)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return len(self._file[FEATURES])

    def blocks(self) -> Iterator[Block]:
        """All rows in order, some at a time."""
        step = group_rows(self._meta)
        names = [name for name in _columns(self._meta) if name != CHECKSUM]
        texts = {name: self.texts(name) for name in TEXTS}
        for start in range(0, self.rows, step):
            stop = min(start + step, self.rows)
            arrays = {name: self._file[name][start:stop] for name in names}
            yield Block(
                {name: values[start:stop] for name, values in texts.items()},
                arrays | self._local(self._features(start, stop)),
            )

    def texts(self, name: str) -> list[str | None]:
        """A whole column of strings."""
        values = self._file[name].asstr()[:]
        return [value or None for value in values] if name in {"reason", "flag"} else list(values)

    def column(self, name: str) -> AnyArray:
        """A whole column of numbers, places or global descriptors."""
        values: AnyArray = self._file[name][:]
        return values

    def descriptors(self, rows: IntArray, count: int) -> tuple[AnyArray, IntArray]:
        """The first `count` descriptors of some rows, and how many of all are real.

        Args:
            rows: (B,) rows of this shard, counted from its first, in any order.
            count: Descriptors of a row.

        Returns:
            (B, count, width) as stored, and (B,).
        """
        dtype, (_, width) = payload_kinds(self._meta)["descriptors"]
        found = np.empty((len(rows), count, width), dtype)
        for index, row in enumerate(rows):
            found[index] = self._local(self._features(int(row), int(row) + 1))["descriptors"][0, :count]
        return found, self.column("count")[rows].astype(np.int64)

    def _features(self, start: int, stop: int) -> AnyArray:
        """Rows of `features`, compared with their checksums."""
        rows: AnyArray = self._file[FEATURES][start:stop]
        wrong = np.flatnonzero(_checksums(rows) != self._file[CHECKSUM][start:stop])
        if len(wrong):
            raise ValueError(f"the checksum of its row {start + wrong[0]} is wrong")
        return rows

    def _local(self, rows: AnyArray) -> dict[str, AnyArray]:
        plain = rows.dtype.names is None
        columns = rows[..., :LEADING] if plain else rows["metadata"]
        return {
            "scales": columns[..., SCALE].astype(np.int8),
            "weights": columns[..., WEIGHT],
            "descriptors": rows[..., LEADING:] if plain else rows["descriptor"],
        }


def write_joined(path: Path, meta: StoreMeta, parts: Sequence[ShardSummary]) -> None:
    """Write a virtual file that shows all shards as one, for programs that read the authors' files.

    HDF5 itself shows a part that is missing as the fill value, which is NaN here and not zero; our reader
    (`features_file.py`) compares every part with the hash that is kept in the file.
    """
    dtype, shape = features_kind(meta)
    kinds = {FEATURES: (dtype, shape)} | {
        name: (np.dtype("<f4"), (dim,)) for name, dim in meta.pooled.items()
    }
    with h5py.File(path, "w") as file:
        for name, (kind, inner) in kinds.items():
            sources = [(meta.shard_name(part.shard), *meta.shard_range(part.shard)) for part in parts]
            _virtual(file, name, (meta.rows, *inner), kind, sources)
        named = [
            {"file": meta.shard_name(p.shard), "rows": p.rows, "bytes": p.bytes, "sha256": p.sha256}
            for p in parts
        ]
        file.attrs[PARTS] = json.dumps(named, sort_keys=True)


def _virtual(
    file: h5py.File,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype[Any],
    sources: Sequence[tuple[str, int, int]],
) -> None:
    """A virtual dataset from sources (file, start, stop); h5py's own would hold the time of writing."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)
    plan.set_fill_value(np.asarray(_nothing(kind), kind))
    origin = (0,) * len(shape)
    whole = h5py.h5s.create_simple(shape)
    for part, start, stop in sources:
        piece = (stop - start, *shape[1:])
        source = h5py.h5s.create_simple(piece)
        source.select_hyperslab(origin, piece)
        target = h5py.h5s.create_simple(shape)
        target.select_hyperslab((start, *origin[1:]), piece)
        plan.set_virtual(target, part.encode(), name.encode(), source)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(kind, logical=True), whole, plan)


def _columns(meta: StoreMeta) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Datasets beside `features`, strings aside."""
    numbers = {name: (np.dtype(kind), ()) for name, kind in NUMBERS.items()}
    payload = payload_kinds(meta)
    exact = {name: payload[name] for name in ("locations", *sorted(meta.pooled))}
    return numbers | exact | {CHECKSUM: (np.dtype("<u4"), ())}


def _checksums(rows: AnyArray) -> AnyArray:
    return np.array([zlib.crc32(np.ascontiguousarray(row).view(np.uint8).data) for row in rows], "<u4")


def _nothing(kind: np.dtype[Any]) -> Any:
    """A fill value that no reader takes for descriptors."""
    if kind.names is None:
        return np.nan
    value = np.zeros((), kind)
    value["metadata"] = np.nan
    if value["descriptor"].dtype.kind == "f":
        value["descriptor"] = np.nan
    return value
