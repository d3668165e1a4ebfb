"""Stores whose global descriptors lie in clusters, as photos of the same places do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ames_ray.files import Storage
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures, LocalFeatures
from tests.store.builders import make_manifest, make_meta


def clustered_store(path: Path, rows: int, seed: int) -> Store:
    """Images of the same 50 places, with global descriptors of length 1 around 50 points; some failed."""
    manifest = make_manifest(rows, first=1000 * seed)
    meta = make_meta(manifest, shard_rows=256, topk=1, pooled={"global": 16})
    g = np.random.default_rng(seed)
    places = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    values = places[g.integers(0, 50, rows)] + 0.5 * g.standard_normal((rows, 16)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    storage = Storage.at(path)
    writer = StoreWriter.open(storage, meta, manifest)
    empty = np.empty(0, np.float32)
    nothing = LocalFeatures(empty.reshape(0, 2), empty.astype(np.int8), empty, empty.reshape(0, meta.dim))
    for task in writer.pending():
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            for record in manifest.records(task.start, task.stop):
                found = ImageFeatures(record, nothing, {"global": values[record.row]}, 120, 100)
                shard.write([ImageFeatures(record, reason="empty") if record.row % 30 == 7 else found])
            shard.publish()
    writer.finish({"job": "test"})
    return Store.open(str(path))
