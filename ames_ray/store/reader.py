"""Reading a store: whole shards in order, or any rows in any order."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.datasets.authors_list import authors_manifest
from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.codec import decode, payload_kinds
from ames_ray.store.guard import publishing, reading
from ames_ray.store.meta import AUTHORS, CARD, MANIFEST, META, PACK, SHARDS, ShardSummary, StoreMeta
from ames_ray.store.pack import Pack, checked_count, checked_rows, first_ones, write_pack
from ames_ray.store.removed import read_removed
from ames_ray.store.shards import (
    content_digest,
    is_whole,
    open_shard,
    read_marks,
    read_shard_list,
    shard_sizes,
)
from ames_ray.types import BoolArray, FeatureBatch, FloatArray, ImageFeatures, IntArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ames_ray.store.shards import ShardSource

_HDF5 = (".hdf5", ".h5")


class Store:
    """A store of image features, open for reading.

    Rows are the lines of the image list, failed ones included. An open store holds no file handles, so it may
    be sent to other processes.

    Attributes:
        storage: Folder of the store.
        meta: What it holds.
        summaries: What is known of the shards that count, by shard.
    """

    def __init__(self, storage: Storage, meta: StoreMeta, summaries: dict[int, ShardSummary]) -> None:
        self.storage = storage
        self.meta = meta
        self.summaries = summaries

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the image list, the rows and the card where it needs them.
        return {"storage": self.storage, "meta": self.meta, "summaries": self.summaries}

    @classmethod
    def open(cls, uri: str, allow_partial: bool = False) -> Self:
        """Open a store.

        Args:
            uri: Folder, or `scheme://` address; or a file `…_local.hdf5` of the authors, whose other files
                are found beside it.
            allow_partial: Accept a store that is not finished; it has the rows of its finished shards.

        Raises:
            StoreError: It is no store, not finished, or a shard is missing or has another size than it had.
        """
        storage = Storage.at(uri)
        if not storage.exists(META):
            if storage.root.endswith(_HDF5):
                return cls._of_authors(storage)
            raise StoreError(
                f"{storage.uri} is no store: it has no {META}", "`ames-ray extract` makes a store"
            )
        meta = StoreMeta.from_json(storage.read(META), storage.address(META))
        if allow_partial:
            marks, sizes = read_marks(storage), shard_sizes(storage)
            return cls(storage, meta, {s: m for s, m in marks.items() if is_whole(sizes, meta, m)})
        if not storage.exists(CARD):
            done = len(read_marks(storage))
            raise StoreError(
                f"{storage.uri} is not finished: {done} of {meta.shards} shards are there",
                "run the command that made it again, it goes on from there",
            )
        summaries = read_shard_list(storage)
        _require_whole(storage, meta, summaries)
        return cls(storage, meta, summaries)

    @classmethod
    def _of_authors(cls, storage: Storage) -> Self:
        from ames_ray.store.authors_store import describe_authors

        meta, summaries, manifest = describe_authors(storage.uri)
        store = cls(storage, meta, summaries)
        store.__dict__["manifest"] = manifest
        return store

    @cached_property
    def manifest(self) -> Manifest:
        """The image list.

        Raises:
            StoreError: It is not the one that the store was made from.
        """
        if self.meta.format == AUTHORS:
            manifest = authors_manifest(self.storage.uri, self.meta.rows)
        else:
            manifest = Manifest.read(self.storage, MANIFEST)
        if (len(manifest), manifest.digest) != (self.meta.rows, self.meta.manifest_digest):
            raise StoreError(
                f"{self.storage.address(MANIFEST)} is not the list that {META} names",
                "run the command that made the store again: it writes the list anew",
            )
        return manifest

    @cached_property
    def card(self) -> dict[str, Any]:
        """What made the store; empty where it is not finished."""
        if not self.storage.exists(CARD):
            return {}
        with reading(self.storage.address(CARD), "run the command that made the store again"):
            card: dict[str, Any] = json.loads(self.storage.read(CARD))
            return card

    @cached_property
    def ok(self) -> BoolArray:
        """(rows,) bool, False for a failed row and for one whose shard is not there."""
        ok = np.zeros(self.meta.rows, np.bool_)
        for shard, summary in self.summaries.items():
            start, _ = self.meta.shard_range(shard)
            ok[start : start + summary.rows] = self._ok_of(shard)
        return ok

    @cached_property
    def removed(self) -> IntArray:
        """Rows of photos that are gone, ascending; nobody finds them any more."""
        return np.array(read_removed(self.storage), np.int64)

    @cached_property
    def searchable(self) -> int:
        """How many rows a search can find; of the shards only those with removed rows are looked into."""
        if self.meta.format == AUTHORS:
            return int(np.delete(self.ok, self.removed).sum())
        found = sum(summary.ok for summary in self.summaries.values())
        for shard in np.unique(self.removed // self.meta.shard_rows).tolist():
            start, stop = self.meta.shard_range(shard)
            gone = self.removed[(self.removed >= start) & (self.removed < stop)]
            found -= int(self._ok_of(shard)[gone - start].sum())
        return found

    def features(self, shard: int) -> Iterator[ImageFeatures]:
        """The rows of a shard in order, read some at a time.

        Raises:
            StoreError: The shard is not there, or damaged.
        """
        summary = self._summary(shard)
        start, _ = self.meta.shard_range(shard)
        with open_shard(self.storage, self.meta, shard) as file:
            if file.rows != summary.rows:
                raise ValueError(f"it holds {file.rows} rows, not {summary.rows}")
            for block in file.blocks():
                records = self.manifest.records(start, start + len(block))
                start += len(block)
                yield from decode(block, records, self.meta)

    def read(self, rows: Sequence[int] | IntArray, count: int | None = None) -> FeatureBatch:
        """Descriptors of some rows, in the given order; a row may be asked for twice.

        Args:
            rows: (B,) rows of the list.
            count: The strongest descriptors N of each row; none for all `topk`.

        Returns:
            Descriptors (B, N, D) in the store's type, or (B, N, D / 8) uint8 sign bits; failed rows hold no
            valid descriptor.

        Raises:
            StoreError: A row or the count is outside of the store, or a shard is damaged.
        """
        count = checked_count(count, self.meta.topk, self.storage.uri)
        wanted = checked_rows(rows, self.meta.rows, self.storage.uri)
        if self.pack is not None:
            return self.pack.read(wanted, count)
        dtype, (_, width) = payload_kinds(self.meta)["descriptors"]
        descriptors = np.empty((len(wanted), count, width), dtype)
        real = np.empty(len(wanted), np.int64)
        shards = wanted // self.meta.shard_rows
        for shard in np.unique(shards):
            self._summary(int(shard))
            here = shards == shard
            with open_shard(self.storage, self.meta, int(shard)) as file:
                local = wanted[here] - shard * self.meta.shard_rows
                descriptors[here], real[here] = file.descriptors(local, count)
        return FeatureBatch(wanted, descriptors, first_ones(real, count))

    def pooled(self, name: str, start: int = 0, stop: int | None = None) -> FloatArray:
        """A global descriptor of rows (B, D) float32; zeros for failed rows (see `ok`).

        Args:
            name: Name of the descriptor.
            start: First row.
            stop: The row after the last one; none for all.

        Raises:
            StoreError: The store has no descriptor of that name or no such rows, or shards are missing.
        """
        if name not in self.meta.pooled:
            known = ", ".join(sorted(self.meta.pooled)) or "none"
            raise StoreError(f"{self.storage.uri} has no global descriptor {name!r}; it has {known}")
        stop = self.meta.rows if stop is None else stop
        if not 0 <= start <= stop <= self.meta.rows:
            raise StoreError(f"rows {start} to {stop} were asked of {self.meta.rows} in {self.storage.uri}")
        found = np.empty((stop - start, self.meta.pooled[name]), np.float32)
        for rows, file, part in self.shards_of(start, stop):
            found[rows.start - start : rows.stop - start] = file.column(name)[part]
        return found

    def shards_of(self, start: int, stop: int) -> Iterator[tuple[slice, ShardSource, slice]]:
        """The shards of a range of rows, each open while it is looked at.

        Yields:
            Rows of the store, the shard that holds them, and where they are in it.

        Raises:
            StoreError: A shard is not there.
        """
        for shard in range(start // self.meta.shard_rows, -(-stop // self.meta.shard_rows)):
            first, last = self.meta.shard_range(shard)
            self._summary(shard)
            rows = slice(max(start, first), min(stop, last))
            with open_shard(self.storage, self.meta, shard) as file:
                yield rows, file, slice(rows.start - first, rows.stop - first)

    @cached_property
    def pack(self) -> Pack | None:
        """The packed copy that `make_pack` left, if it is of this very content."""
        path = self.storage.local
        if path is None or not (path / PACK).is_file():
            return None
        pack = Pack.open(path / PACK)
        return pack if pack.content == content_digest(self.summaries) else None

    def make_pack(self) -> None:
        """Copy all descriptors into one file in the store, which `read` maps from then on.

        Raises:
            StoreError: The store is remote or not whole, or the disk is full.
        """
        if self.storage.local is None:
            raise StoreError(
                f"{self.storage.uri} is remote; a packed file is mapped from a local disk",
                "copy the store to a local disk",
            )
        self.require_all()
        with publishing(self.storage, PACK, self.meta.rows * self.meta.row_bytes) as path:
            write_pack(path, self.storage, self.meta, self.summaries)
        self.__dict__.pop("pack", None)

    def require_all(self) -> None:
        """Refuse to go on where shards are not there."""
        for shard in range(self.meta.shards):
            self._summary(shard)

    def _ok_of(self, shard: int) -> BoolArray:
        with open_shard(self.storage, self.meta, shard) as file:
            return np.array([status == "ok" for status in file.texts("status")], np.bool_)

    def _summary(self, shard: int) -> ShardSummary:
        start, stop = self.meta.shard_range(shard)
        if shard not in self.summaries:
            raise StoreError(
                f"rows {start} to {stop - 1} are not in {self.storage.uri} yet: it lacks shard {shard}",
                "run the command that made the store again, it goes on from there",
            )
        return self.summaries[shard]


def _require_whole(storage: Storage, meta: StoreMeta, summaries: dict[int, ShardSummary]) -> None:
    """Refuse a finished store whose files are not those that it was finished with."""
    wrong, sizes = [], shard_sizes(storage)
    for shard in range(meta.shards):
        name, summary = meta.shard_name(shard), summaries.get(shard)
        size = sizes.get(name)
        start, stop = meta.shard_range(shard)
        if summary is None or summary.rows != stop - start:
            wrong.append(f"{SHARDS} does not tell of {name} with {stop - start} rows")
        elif size is None:
            wrong.append(f"{name} is missing")
        elif size != summary.bytes:
            wrong.append(f"{name} has {size:,} bytes, not {summary.bytes:,}")
    if wrong:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise StoreError(
            f"{storage.uri} is damaged: {'; '.join(wrong[:5])}{more}",
            "run the command that made the store again: only these shards are redone",
        )
