"""Several stores as one, their rows one after the other."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.files import Storage, is_remote
from ames_ray.store.copying import fill
from ames_ray.store.reader import Store
from ames_ray.store.shards import content_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ames_ray.types import ImageFeatures


def merge(stores: Sequence[Store], output: str) -> Store:
    """Join stores that were made with equal settings; the same call goes on where a killed one stopped.

    Args:
        stores: The stores, in the order of their rows. The first one gives format and shard size.
        output: Folder or address of the new store.

    Raises:
        StoreError: The stores differ, one is not whole, or the output is in use or holds something else.
    """
    for store in stores:
        store.require_all()
        _require_equal(stores[0], store)
    manifest = _joined(stores)
    first = stores[0].meta
    meta = replace(first, rows=len(manifest), manifest_digest=manifest.digest, format=first.own_format)
    sources = [
        {
            "name": Storage.of_file(store.storage.uri)[1],
            "rows": store.meta.rows,
            "content": content_digest(store.summaries),
        }
        for store in stores
    ]

    def rows(start: int, stop: int) -> Iterator[ImageFeatures]:
        for item, record in zip(_features(stores, start, stop), manifest.records(start, stop), strict=True):
            yield replace(item, record=record)

    starts = accumulate((store.meta.rows for store in stores), initial=0)
    removed = [int(row) + at for store, at in zip(stores, starts, strict=False) for row in store.removed]
    storage = Storage.at(output)
    fill(storage, meta, manifest, rows, job="store merge", sources=sources, removed=removed)
    return Store.open(output)


def _require_equal(first: Store, other: Store) -> None:
    alike = replace(
        other.meta,
        rows=first.meta.rows,
        manifest_digest=first.meta.manifest_digest,
        shard_rows=first.meta.shard_rows,
        format=first.meta.format,
    )
    if differences := first.meta.differences(alike, "in the first", "in the other"):
        lines = "".join(f"\n  {line}" for line in differences)
        raise StoreError(
            f"{first.storage.uri} and {other.storage.uri} were made with different settings:{lines}",
            "only stores of equal descriptors can be joined",
        )


def _joined(stores: Sequence[Store]) -> Manifest:
    """The lists one after the other, below a root that they share."""
    lists = [store.manifest for store in stores]
    roots = {manifest.root for manifest in lists}
    outside = any(manifest.allow_outside for manifest in lists)
    if len(roots) == 1:
        root = roots.pop()
    elif any(is_remote(root) for root in roots):
        root, outside = lists[0].root, True
    else:
        root = os.path.commonpath(roots)
    notes = tuple(dict.fromkeys(note for manifest in lists for note in manifest.notes))
    return Manifest.from_records(chain.from_iterable(lists), root, notes=notes, allow_outside=outside)


def _features(stores: Sequence[Store], start: int, stop: int) -> Iterator[ImageFeatures]:
    """Rows start … stop - 1 of all stores taken as one."""
    first = 0
    for store in stores:
        begin, end = max(start - first, 0), min(stop - first, store.meta.rows)
        if begin < end:
            for shard in range(begin // store.meta.shard_rows, (end - 1) // store.meta.shard_rows + 1):
                yield from (item for item in store.features(shard) if begin <= item.record.row < end)
        first += store.meta.rows
