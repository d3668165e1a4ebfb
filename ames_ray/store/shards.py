"""Opening shards in either format, and the marks that say which of them count.

A shard counts when its mark `progress/00017.json` is there: the mark is published after the shard.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from typing import IO, TYPE_CHECKING, Protocol

from ames_ray.errors import StoreError
from ames_ray.files import to_json
from ames_ray.store.guard import publish, reading
from ames_ray.store.meta import AUTHORS, CARD, JOINED, PACK, SHARDS, ShardSummary, summary_from_json
from ames_ray.store.parquet import ParquetShard, ParquetWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ames_ray.files import Storage
    from ames_ray.store.codec import Block
    from ames_ray.store.meta import StoreMeta
    from ames_ray.types import AnyArray, ImageFeatures, IntArray

PROGRESS = "progress"
OF_ALL_SHARDS = (CARD, SHARDS, JOINED, PACK)
"""What a finished store has of all its shards together."""
_READERS = 16


class ShardSink(Protocol):
    """A shard that is being written."""

    def append(self, features: Sequence[ImageFeatures], uris: Sequence[str]) -> None:
        """Write the next rows."""

    def close(self) -> None:
        """Write the end of the file."""


class ShardSource(Protocol):
    """A shard that is being read; rows are counted from its first."""

    @property
    def rows(self) -> int:
        """Rows in the file."""

    def blocks(self) -> Iterator[Block]:
        """All rows in order, some at a time."""

    def texts(self, name: str) -> list[str | None]:
        """A whole column of strings."""

    def column(self, name: str) -> AnyArray:
        """A whole column of numbers, places (`locations`) or global descriptors."""

    def descriptors(self, rows: IntArray, count: int) -> tuple[AnyArray, IntArray]:
        """The first descriptors of some rows, and how many of all are real."""

    def close(self) -> None:
        """Close the file."""


def create_shard(path: Path, meta: StoreMeta, shard: int, start: int, stop: int) -> ShardSink:
    """A new shard file in the store's format."""
    if meta.format == "parquet":
        return ParquetWriter(path, meta, shard, start, stop)
    from ames_ray.store.hdf5 import Hdf5Writer

    return Hdf5Writer(path, meta, shard, start, stop)


@contextmanager
def open_shard(storage: Storage, meta: StoreMeta, shard: int) -> Iterator[ShardSource]:
    """A published shard, open for reading.

    Raises:
        StoreError: It is missing or damaged; also where that shows only inside the block.
    """
    if meta.format == AUTHORS:
        from ames_ray.store.authors_store import AuthorsShard

        with reading(storage.uri), closing(AuthorsShard(storage.uri, meta, shard)) as file:
            yield file
        return
    name = meta.shard_name(shard)
    hint = f"delete {name} and run the command that made the store again: only this shard is redone"
    with reading(storage.address(name), hint):
        if storage.local is not None:
            with closing(_source(storage.path(name), meta)) as file:
                yield file
            return
        with storage.open(name) as handle, closing(_source(handle, meta)) as file:
            yield file


def read_marks(storage: Storage) -> dict[int, ShardSummary]:
    """The summaries of all shards that count, by shard."""
    # File managers leave files of their own, such as `.DS_Store`.
    found = [name for name in storage.names(PROGRESS) if name.removesuffix(".json").isdecimal()]
    names = [f"{PROGRESS}/{name}" for name in found]
    with ThreadPoolExecutor(_READERS) as pool:
        return {summary.shard: summary for summary in pool.map(partial(_read_mark, storage), names)}


def read_mark(storage: Storage, shard: int) -> ShardSummary | None:
    """The summary of one shard, whatever happens to the others meanwhile; none where it does not count."""
    name = _mark(shard)
    return _read_mark(storage, name) if storage.exists(name) else None


def write_mark(storage: Storage, summary: ShardSummary) -> None:
    """Make a published shard count."""
    publish(storage, _mark(summary.shard), to_json(asdict(summary)))


def withdraw(storage: Storage, shard: int) -> None:
    """A shard is about to change: it counts no more, and the store is not finished any more."""
    unfinish(storage)
    storage.delete(_mark(shard))


def unfinish(storage: Storage) -> None:
    """The store is about to change: it is not finished any more, and what was made of all shards is void."""
    for name in OF_ALL_SHARDS:
        storage.delete(name)


def write_shard_list(storage: Storage, summaries: Sequence[ShardSummary]) -> None:
    """Publish the summaries of a finished store as one file."""
    publish(storage, SHARDS, to_json([asdict(summary) for summary in summaries]))


def read_shard_list(storage: Storage) -> dict[int, ShardSummary]:
    """The summaries of a finished store, by shard."""
    name = storage.address(SHARDS)
    try:
        items = [json.dumps(item).encode() for item in json.loads(storage.read(SHARDS))]
    except (ValueError, TypeError) as error:
        raise StoreError(f"{name} is damaged: {error}", "run the command that made the store again") from None
    return {summary.shard: summary for summary in (summary_from_json(item, name) for item in items)}


def is_finished(storage: Storage) -> bool:
    """Whether the list of shards is that of the marks, and the card is there and sound."""
    try:
        json.loads(storage.read(CARD))
        return read_shard_list(storage) == read_marks(storage)
    except (StoreError, ValueError):
        return False


def content_digest(summaries: Mapping[int, ShardSummary]) -> str:
    """SHA-256 over the hashes of all shards: what a copy of the whole content was made from."""
    lines = "".join(f"{summaries[shard].sha256}\n" for shard in sorted(summaries))
    return hashlib.sha256(lines.encode()).hexdigest()


def shard_sizes(storage: Storage) -> dict[str, int]:
    """Bytes of the shard files that are there, by their names below the store: one listing for all."""
    return {f"shards/{name}": size for name, size in storage.sizes("shards").items()}


def is_whole(sizes: Mapping[str, int], meta: StoreMeta, summary: ShardSummary) -> bool:
    """Whether the file of a shard is there with the size of its mark.

    Args:
        sizes: What `shard_sizes` found.
        meta: What the store holds.
        summary: The mark.
    """
    return summary.shard < meta.shards and sizes.get(meta.shard_name(summary.shard)) == summary.bytes


def _mark(shard: int) -> str:
    return f"{PROGRESS}/{shard:05d}.json"


def _read_mark(storage: Storage, name: str) -> ShardSummary:
    return summary_from_json(storage.read(name), storage.address(name))


def _source(file: str | IO[bytes], meta: StoreMeta) -> ShardSource:
    if meta.format == "parquet":
        return ParquetShard(file, meta)
    from ames_ray.store.hdf5 import Hdf5Shard

    return Hdf5Shard(file, meta)
