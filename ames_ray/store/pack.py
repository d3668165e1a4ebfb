"""All descriptors of a store in one contiguous HDF5 dataset that is mapped into memory, for random reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.store.codec import describe, payload_kinds
from ames_ray.store.guard import reading
from ames_ray.store.shards import content_digest, open_shard
from ames_ray.types import AnyArray, BoolArray, FeatureBatch, IntArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from ames_ray.files import Storage
    from ames_ray.store.codec import Block
    from ames_ray.store.meta import ShardSummary, StoreMeta

_ATTRIBUTE = "ames_ray"


@dataclass(frozen=True, eq=False)
class Pack:
    """A packed file, ready to be read.

    Attributes:
        path: The file.
        content: Digest of the shards that it was made from.
        offset: Where its descriptors begin [bytes].
        shape: (rows, K, width) of the descriptors.
        dtype: Their type.
        real: (rows,) int64 real descriptors of each row.
    """

    path: Path
    content: str
    offset: int
    shape: tuple[int, int, int]
    dtype: str
    real: IntArray

    @classmethod
    def open(cls, path: Path) -> Self:
        """Look where the descriptors lie.

        Raises:
            StoreError: The file is missing, damaged, or no packed file.
        """
        import h5py

        with reading(str(path), "make it anew from the store"), h5py.File(path, "r") as file:
            about = json.loads(file.attrs[_ATTRIBUTE])
            data = file["descriptors"]
            return cls(
                path,
                about["content"],
                data.id.get_offset(),
                data.shape,
                data.dtype.str,
                file["count"][:].astype(np.int64),
            )

    def read(self, rows: IntArray, count: int | None = None) -> FeatureBatch:
        """Descriptors of some rows in any order, as `Store.read` gives them."""
        count = checked_count(count, self.shape[1], str(self.path))
        rows = checked_rows(rows, self.shape[0], str(self.path))
        _, topk, width = self.shape
        # Whole rows are taken as blocks of bytes, and parts of rows in one run each.
        found = self._data.take(rows, 0) if count == topk else self._data[rows, : count * width]
        return FeatureBatch(rows, found.reshape(-1, count, width), first_ones(self.real[rows], count))

    @cached_property
    def _data(self) -> AnyArray:
        """The mapped file, (rows, K · width); pages once read stay mapped, so it is kept between reads."""
        rows, topk, width = self.shape
        with reading(str(self.path), "make it anew from the store"):
            return np.asarray(np.memmap(self.path, self.dtype, "r", self.offset, (rows, topk * width)))

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file itself; pickled, the map would be the whole gallery.
        return {name: value for name, value in vars(self).items() if name != "_data"}


def write_pack(
    path: Path,
    storage: Storage,
    meta: StoreMeta,
    summaries: Mapping[int, ShardSummary],
    without: Iterable[int] = (),
) -> None:
    """Write a packed file: datasets `descriptors`, `count` and each global descriptor.

    Args:
        path: Local file to make.
        storage: Folder of the store.
        meta: What it holds.
        summaries: All its shards.
        without: Rows to leave empty, as failed ones are.
    """
    import h5py

    from ames_ray.store.hdf5 import contiguous, reserve

    kinds: dict[str, Any] = payload_kinds(meta)
    names = ("count", "descriptors", *sorted(meta.pooled))
    with h5py.File(path, "w") as file:
        about = describe(meta) | {"content": content_digest(summaries), "settings": meta.settings}
        file.attrs[_ATTRIBUTE] = json.dumps(about, sort_keys=True)
        for name in names:
            dtype, shape = kinds.get(name) or (np.dtype("<i4"), ())
            contiguous(file, name, (meta.rows, *shape), dtype)
        reserve(file)
        for start, block in _blocks(storage, meta):
            for name in names:
                file[name][start : start + len(block)] = block.arrays[name]
        for row in without:
            for name in names:
                file[name][int(row)] = 0


def _blocks(storage: Storage, meta: StoreMeta) -> Iterator[tuple[int, Block]]:
    """All rows in order, some at a time, with the first one's number.

    What goes wrong where they are written is not raised in here, so it is not blamed on the shard.
    """
    for shard in range(meta.shards):
        start, _ = meta.shard_range(shard)
        with open_shard(storage, meta, shard) as source:
            for block in source.blocks():
                yield start, block
                start += len(block)


def first_ones(real: IntArray, count: int) -> BoolArray:
    """(B, count) bool: the first `real` of each row."""
    if len(real) and real.min() >= count:  # Most galleries: a comparison would take as long as the copy.
        return np.ones((len(real), count), np.bool_)
    return np.arange(count) < real[:, None]


def checked_rows(rows: object, total: int, what: str) -> IntArray:
    """Rows as an array.

    Raises:
        StoreError: A row is outside of the store.
    """
    found = np.asarray(rows, np.int64)
    wrong = found[(found < 0) | (found >= total)]
    if len(wrong):
        raise StoreError(f"there is no row {wrong[0]} in {what}; it has rows 0 to {total - 1}")
    return found


def checked_count(count: int | None, topk: int, what: str) -> int:
    """A number of descriptors per row; none means all.

    Raises:
        StoreError: The store has fewer.
    """
    if count is None:
        return topk
    if not 0 < count <= topk:
        raise StoreError(f"{count} descriptors per row are asked for; {what} holds topk={topk}")
    return count
