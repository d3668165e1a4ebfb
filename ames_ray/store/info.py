"""A store in numbers, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ames_ray.store.meta import AUTHORS, NO_FEATURES, add_counts

if TYPE_CHECKING:
    from ames_ray.store.reader import Store


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store is and how far it is.

    Attributes:
        uri: Folder or address.
        finished: Whether all shards are there and the card is written.
        rows: Rows of the list.
        rows_done: Rows in finished shards.
        rows_ok: Rows with descriptors.
        failed: Failed rows by reason.
        flagged: Usable but suspicious rows by reason.
        removed: Rows of photos that are gone; they count among the others too.
        shards: Shards of the whole store.
        shards_done: Finished shards.
        shard_rows: Rows of a shard.
        stored_bytes: Size of the finished shards.
        format: File format of the shards.
        codec: How a descriptor is stored.
        topk: Most local descriptors of a row.
        dim: Width of a descriptor.
        pooled: Width of each global descriptor by name.
        packed: Whether a packed copy for random reads is there.
        root: Folder that the list's paths start from.
        notes: Remarks on the list.
        settings: All that decided the numbers.
    """

    uri: str
    finished: bool
    rows: int
    rows_done: int
    rows_ok: int
    failed: dict[str, int]
    flagged: dict[str, int]
    removed: int
    shards: int
    shards_done: int
    shard_rows: int
    stored_bytes: int
    format: str
    codec: str
    topk: int
    dim: int
    pooled: dict[str, int]
    packed: bool
    root: str
    notes: tuple[str, ...]
    settings: dict[str, Any]


def describe_store(store: Store) -> StoreInfo:
    """Count what is there; a store opened with `allow_partial=True` may be unfinished."""
    meta = store.meta
    summaries = store.summaries.values()
    rows_ok, failed = sum(summary.ok for summary in summaries), add_counts(s.failed for s in summaries)
    is_authors = meta.format == AUTHORS
    if is_authors:
        # Nobody counted before.
        rows_ok = int(store.ok.sum())
        failed = {NO_FEATURES: meta.rows - rows_ok} if rows_ok < meta.rows else {}
    return StoreInfo(
        uri=store.storage.uri,
        finished=is_authors or (bool(store.card) and len(summaries) == meta.shards),
        rows=meta.rows,
        rows_done=sum(summary.rows for summary in summaries),
        rows_ok=rows_ok,
        failed=failed,
        flagged=add_counts(summary.flagged for summary in summaries),
        removed=len(store.removed),
        shards=meta.shards,
        shards_done=len(summaries),
        shard_rows=meta.shard_rows,
        stored_bytes=sum(summary.bytes for summary in summaries),
        format=meta.format,
        codec=meta.codec,
        topk=meta.topk,
        dim=meta.dim,
        pooled=dict(meta.pooled),
        packed=store.pack is not None,
        root=store.manifest.root,
        notes=store.manifest.notes,
        settings=meta.settings,
    )
