"""Small stores with all kinds of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardTask, ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures

ROOT = "/photos"
TOPK, DIM = 6, 16


def make_manifest(rows: int, root: str = ROOT, first: int = 0) -> Manifest:
    records = [
        ImageRecord(
            row,
            f"img{first + row}",
            f"{root}/a/img{first + row}.jpg",
            bbox=(10.5, 20.9, 90.2, 80.7) if row % 4 == 1 else None,
            width=120,
            height=100,
        )
        for row in range(rows)
    ]
    return Manifest.from_records(records, root)


def make_meta(manifest: Manifest, **changes: Any) -> StoreMeta:
    meta = StoreMeta(
        rows=len(manifest),
        shard_rows=5,
        format="parquet",
        codec="float16",
        topk=TOPK,
        dim=DIM,
        pooled={"cls": 3, "global": 4},
        manifest_digest=manifest.digest,
        settings={"backbone": "test", "location_convention": "fraction", "read": {"truncated": "fail"}},
    )
    return replace(meta, **changes)


def make_features(record: ImageRecord, meta: StoreMeta) -> ImageFeatures:
    """Every 7th row is failed, every 5th flagged; numbers of descriptors differ, none at all included."""
    if record.row % 7 == 3:
        return ImageFeatures(record, reason="truncated" if record.row % 2 else "empty")
    g = np.random.default_rng(record.row)
    count = record.row % (meta.topk + 1)
    descriptors = g.standard_normal((count, meta.dim)).astype(np.float32)
    if meta.codec == "binary":
        descriptors = np.where(descriptors > 0, 1, -1).astype(np.float32)
    elif meta.codec == "float16":
        descriptors = descriptors.astype(np.float16).astype(np.float32)
    local = LocalFeatures(
        # Within the box of a query, if it is one.
        xy=(g.random((count, 2)) * (80, 60) + (10, 20)).astype(np.float32),
        scale=g.integers(0, 3, count).astype(np.int8),
        weight=np.sort(g.random(count).astype(np.float32))[::-1],
        descriptors=descriptors,
    )
    pooled = {name: g.random(dim).astype(np.float32) for name, dim in meta.pooled.items()}
    return ImageFeatures(record, local, pooled, 120, 100, flag="truncated" if record.row % 5 == 4 else None)


def write_task(storage: Storage, meta: StoreMeta, manifest: Manifest, task: ShardTask) -> None:
    """Compute one shard; rows that the task keeps are read from the store."""
    kept: dict[int, ImageFeatures] = {}
    if task.keep:
        store = Store.open(storage.uri, allow_partial=True)
        kept = {f.record.row: f for f in store.features(task.shard) if f.record.row in set(task.keep)}
    with ShardWriter(storage, meta, task.shard, task.start, task.stop) as writer:
        for record in manifest.records(task.start, task.stop):
            writer.write([kept.get(record.row) or make_features(record, meta)])
        writer.publish()


def make_store(path: Path, rows: int = 23, manifest: Manifest | None = None, **changes: Any) -> Store:
    """Write, or go on with, a store of test rows."""
    manifest = manifest or make_manifest(rows)
    meta = make_meta(manifest, **changes)
    storage = Storage.at(path)
    writer = StoreWriter.open(storage, meta, manifest)
    for task in writer.pending():
        write_task(storage, meta, manifest, task)
    writer.finish({"job": "test"})
    return Store.open(str(path))


def all_features(store: Store) -> list[ImageFeatures]:
    return [item for shard in range(store.meta.shards) for item in store.features(shard)]


def same(left: ImageFeatures, right: ImageFeatures) -> bool:
    """Whether two rows are equal, bit by bit."""
    plain = ("record", "width", "height", "reason", "flag")
    if any(getattr(left, name) != getattr(right, name) for name in plain):
        return False
    if left.pooled.keys() != right.pooled.keys() or (left.local is None) != (right.local is None):
        return False
    pairs = [(left.pooled[name], right.pooled[name]) for name in left.pooled]
    if left.local is not None and right.local is not None:
        names = ("xy", "scale", "weight", "descriptors")
        pairs += [(getattr(left.local, name), getattr(right.local, name)) for name in names]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def hashes(path: Path) -> dict[str, bytes]:
    """Content of every file of a store, by name."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
