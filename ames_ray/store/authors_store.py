"""The authors' HDF5 files read as a store, where they lie: nothing is copied, nothing is written.

Such a store has the address of its file, and ranges of rows for shards. A picture's size is not known, so x
and y are what the two location columns say: fractions of the sides, or pixels of the crop.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.datasets.authors_layout import find_parts, find_pooled
from ames_ray.datasets.authors_list import authors_manifest
from ames_ray.files import Storage
from ames_ray.store.authors import MASK, SCALE, WEIGHT
from ames_ray.store.codec import TEXTS, Block
from ames_ray.store.joined_files import features_meta, open_joined, open_joined_pooled
from ames_ray.store.meta import AUTHORS, NO_FEATURES, ShardSummary
from ames_ray.store.parquet import group_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.datasets.manifest import Manifest
    from ames_ray.store.joined_files import JoinedFeatures, JoinedPooled
    from ames_ray.store.meta import StoreMeta
    from ames_ray.types import AnyArray, BoolArray, FloatArray, IntArray

SHARD_ROWS = 1024
_PROBES = 16
"""Rows of a file that stand for its content: to hash terabytes would take hours."""


def describe_authors(uri: str) -> tuple[StoreMeta, dict[int, ShardSummary], Manifest]:
    """What a file holds.

    Args:
        uri: File of local descriptors; the name of one that was cut in chunks stands for all of them.

    Raises:
        StoreError: A file is missing, damaged, of another layout, or of another length than its list.
    """
    with ExitStack() as stack:
        local = stack.enter_context(open_joined(find_parts(uri)))
        manifest = authors_manifest(uri, local.rows)
        pooled = {
            key: stack.enter_context(open_joined_pooled(find_parts(name), local.rows))
            for key, name in find_pooled(uri).items()
        }
        widths = {key: file.dim for key, file in pooled.items()}
        meta = replace(features_meta(local, widths, manifest, SHARD_ROWS), format=AUTHORS)
        content = _fingerprint(local, pooled)
    total = sum(_size(name) for name in find_parts(uri))
    summaries = {}
    for shard in range(meta.shards):
        start, stop = meta.shard_range(shard)
        share = total * stop // meta.rows - total * start // meta.rows
        summaries[shard] = ShardSummary(shard, stop - start, stop - start, {}, {}, share, content)
    return meta, summaries, manifest


class AuthorsShard:
    """Some rows of the authors' files; see `ShardSource`.

    Args:
        uri: File of local descriptors.
        meta: What it holds.
        shard: Number of the range of rows.
    """

    def __init__(self, uri: str, meta: StoreMeta, shard: int) -> None:
        self._meta = meta
        self._start, self._stop = meta.shard_range(shard)
        with ExitStack() as stack:
            self._local = stack.enter_context(open_joined(find_parts(uri)))
            self._pooled = {
                key: stack.enter_context(open_joined_pooled(find_parts(name), meta.rows))
                for key, name in find_pooled(uri).items()
            }
            self._files = stack.pop_all()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    @property
    def rows(self) -> int:
        """Rows of the range."""
        return self._stop - self._start

    def blocks(self) -> Iterator[Block]:
        """All rows in order, some at a time."""
        step = group_rows(self._meta)
        for start in range(self._start, self._stop, step):
            yield self._block(start, min(start + step, self._stop))

    def texts(self, name: str) -> list[str | None]:
        """A whole column of strings."""
        if name != "status":
            return [value for block in self.blocks() for value in block.texts[name]]
        vectors = {key: self.column(key) for key in self._pooled}
        columns, _ = self._local.read(self._start, self._stop, 1)
        real = columns[:, 0, MASK] == 0
        # Padding comes last, but nobody promised.
        for index in np.flatnonzero(~real):
            row = self._start + int(index)
            real[index] = (self._local.read(row, row + 1)[0][..., MASK] == 0).any()
        return ["ok" if ok else "error" for ok in _ok(real, vectors)]

    def column(self, name: str) -> AnyArray:
        """A whole column of numbers, places or global descriptors."""
        if name in self._pooled:
            return self._pooled[name].read(self._start, self._stop)
        return np.concatenate([block.arrays[name] for block in self.blocks()])

    def descriptors(self, rows: IntArray, count: int) -> tuple[AnyArray, IntArray]:
        """The first descriptors of some rows, and how many of these are real."""
        parts, real = [], np.empty(len(rows), np.int64)
        for index, row in enumerate((rows + self._start).tolist()):
            columns, descriptors = self._local.read(row, row + 1, count)
            if (columns[..., MASK] != 0).any():
                columns, descriptors = _real_first(*self._local.read(row, row + 1))
            parts.append(descriptors[:, :count])
            real[index] = (columns[..., MASK] == 0).sum()
        return np.concatenate(parts) if parts else self._local.read(0, 0, count)[1], real

    def _block(self, start: int, stop: int) -> Block:
        columns, descriptors = _real_first(*self._local.read(start, stop))
        real = columns[..., MASK] == 0
        columns = columns * real[..., None]
        arrays: dict[str, AnyArray] = {
            "row": np.arange(start, stop),
            "width": np.zeros(stop - start, np.int32),
            "height": np.zeros(stop - start, np.int32),
            "count": real.sum(axis=1).astype(np.int32),
            "locations": np.ascontiguousarray(columns[..., 1::-1]),
            "scales": columns[..., SCALE].astype(np.int8),
            "weights": columns[..., WEIGHT],
            "descriptors": descriptors * real[..., None].astype(descriptors.dtype),
        }
        vectors = {key: other.read(start, stop) for key, other in self._pooled.items()}
        ok = _ok(real.any(axis=1), vectors)
        texts: dict[str, list[str | None]] = {name: [None] * len(ok) for name in TEXTS}
        texts["status"] = ["ok" if good else "error" for good in ok]
        texts["reason"] = [None if good else NO_FEATURES for good in ok]
        return Block(texts, arrays | vectors)


def _real_first(columns: FloatArray, descriptors: AnyArray) -> tuple[FloatArray, AnyArray]:
    """The same with padding behind everything real."""
    order = np.argsort(columns[..., MASK], axis=1, kind="stable")[..., None]
    return np.take_along_axis(columns, order, 1), np.take_along_axis(descriptors, order, 1)


def _ok(real: BoolArray, vectors: dict[str, FloatArray]) -> BoolArray:
    """Whether rows hold anything, as `import_hdf5` sees it."""
    ok = real.copy()
    for values in vectors.values():
        ok |= values.any(axis=1)
    return ok


def _fingerprint(local: JoinedFeatures, pooled: dict[str, JoinedPooled]) -> str:
    """SHA-256 over sizes and some rows."""
    digest = hashlib.sha256(
        f"{local.rows} {local.first.topk} {local.first.dim} {local.first.codec}\n".encode()
    )
    for row in np.unique(np.linspace(0, local.rows - 1, _PROBES).astype(int)).tolist():
        for array in local.read(row, row + 1):
            digest.update(np.ascontiguousarray(array).tobytes())
        for key, file in sorted(pooled.items()):
            digest.update(key.encode() + file.read(row, row + 1).tobytes())
    return digest.hexdigest()


def _size(uri: str) -> int:
    folder, name = Storage.of_file(uri)
    return folder.size(name) or 0
