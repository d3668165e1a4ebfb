"""Reading a whole store again, to find what no longer is what was written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import AmesError, StoreError
from ames_ray.store.codec import payload_kinds
from ames_ray.store.meta import AUTHORS, PACK
from ames_ray.store.shards import open_shard, read_marks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.files import Storage
    from ames_ray.store.codec import Block
    from ames_ray.store.meta import ShardSummary
    from ames_ray.store.pack import Pack
    from ames_ray.store.reader import Store

_CHUNK = 8 << 20
_DELETE = "delete it: nothing is lost, and `ames-ray train` makes it again"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        shards: Shards that the store should have.
        sound: Shards that are as they were written.
        problems: What is wrong, a sentence each, naming the file; empty for a sound store.
    """

    shards: int
    sound: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(store: Store) -> VerifyReport:
    """Hash every shard again, compare its rows with the image list and its mark, and its packed copy with it.

    Args:
        store: The store; opened with `allow_partial=True`, it may miss shards, and each one is named.

    Raises:
        StoreError: It is a file of the authors.
    """
    if store.meta.format == AUTHORS:
        raise StoreError(
            f"{store.storage.uri} is a file of the authors: no hash of it is known to compare with",
            "`ames-ray store import` makes a store that can be verified",
        )
    problems = list(_check_list(store))
    marks = read_marks(store.storage)
    sound = 0
    for shard in range(store.meta.shards):
        name = store.meta.shard_name(shard)
        if shard in marks:
            found = [f"{name} {problem}" for problem in _check_shard(store, marks[shard])]
        else:
            found = [f"{name} is not finished: it has no mark in progress/"]
        problems += found
        sound += not found
    if sound == store.meta.shards:
        problems += _check_pack(store)
    return VerifyReport(store.meta.shards, sound, tuple(problems))


def _check_list(store: Store) -> Iterator[str]:
    try:
        manifest = store.manifest
        if manifest.digest_of_first(len(manifest)) != manifest.digest:
            yield "manifest.parquet is damaged: its lines are not those that its digest was made of"
    except AmesError as error:
        yield error.message


def _check_shard(store: Store, summary: ShardSummary) -> Iterator[str]:
    name = store.meta.shard_name(summary.shard)
    start, stop = store.meta.shard_range(summary.shard)
    size = store.storage.size(name)
    if size is None:
        yield "is missing"
    elif size != summary.bytes:
        yield f"has {size:,} bytes, {summary.bytes:,} were written"
    elif _hash(store.storage, name) != summary.sha256:
        yield "has changed: its hash is another one"
    elif summary.rows != stop - start:
        yield f"holds {summary.rows} rows, {stop - start} are needed"
    else:
        yield from _check_rows(store, summary)


def _check_rows(store: Store, summary: ShardSummary) -> Iterator[str]:
    """Compare the rows; the first problem of a shard is enough."""
    at, _ = store.meta.shard_range(summary.shard)
    ok = 0
    try:
        with open_shard(store.storage, store.meta, summary.shard) as file:
            if file.rows != summary.rows:
                yield f"holds {file.rows} rows, {summary.rows} were written"
                return
            for block in file.blocks():
                if problem := _check_block(store, block, at):
                    yield problem
                    return
                at += len(block)
                ok += block.texts["status"].count("ok")
    except AmesError as error:
        yield f"cannot be read: {error.message}"
        return
    if ok != summary.ok:
        yield f"holds {ok} good rows, its mark says {summary.ok}"


def _check_block(store: Store, block: Block, at: int) -> str | None:
    rows = np.arange(at, at + len(block))
    if (block.arrays["row"] != rows).any():
        return f"has its rows in another order from row {at} on"
    records = store.manifest.records(at, at + len(block))
    for record, image_id in zip(records, block.texts["image_id"], strict=True):
        if record.image_id != image_id:
            return f"has {image_id} in row {record.row}, the list has {record.image_id}"
    for name, (dtype, _) in payload_kinds(store.meta).items():
        values = block.arrays[name].reshape(len(block), -1)
        if dtype.kind == "f" and len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
            return f"holds {name} that are not finite in row {at + bad[0]}"
    return None


def _check_pack(store: Store) -> Iterator[str]:
    """Compare the copy that reads prefer with the shards; the first problem is enough."""
    try:
        if (pack := store.pack) is None:
            return
        for shard in range(store.meta.shards):
            at, _ = store.meta.shard_range(shard)
            with open_shard(store.storage, store.meta, shard) as file:
                for block in file.blocks():
                    if problem := _compare(pack, block, at):
                        yield problem
                        return
                    at += len(block)
    except AmesError as error:
        yield f"{PACK} cannot be read: {error.message}; {_DELETE}"


def _compare(pack: Pack, block: Block, at: int) -> str | None:
    rows = np.arange(at, at + len(block))
    equal = (pack.read(rows).descriptors == block.arrays["descriptors"]).all(axis=(1, 2))
    wrong = rows[~equal | (pack.real[rows] != block.arrays["count"])]
    return (
        f"{PACK} holds other descriptors than the shards in row {wrong[0]}; {_DELETE}" if len(wrong) else None
    )


def _hash(storage: Storage, name: str) -> str:
    digest = hashlib.sha256()
    with storage.open(name) as handle:
        while data := handle.read(_CHUNK):
            digest.update(data)
    return digest.hexdigest()
