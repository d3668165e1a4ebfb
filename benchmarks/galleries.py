"""Stores of random descriptors for the benchmarks of searching, written without any image."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
from ames_ray.model.ames import Ames
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.digest import projection_digest
from ames_ray.model.options import PUBLISHED
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures

TOPK, DIM, POOLED = 100, 128, 256
SHARD_ROWS = 4096
_VARIANTS = 512
"""Different images; the others repeat their local descriptors, under global ones of their own."""

Codec = Literal["binary", "float16"]
NETWORKS = {"binary": "dinov2_ames_dist", "float16": "dinov2_ames"}


def make_network(codec: Codec, path: Path) -> str:
    """Random weights in the published size; returns the digest of the projection, which stores name."""
    torch.manual_seed(0)
    model = Ames(PUBLISHED[NETWORKS[codec]])
    save_ames(model, path)
    return projection_digest(model)


def make_store(path: Path, rows: int, codec: Codec, projection: str, first: int = 0) -> Store:
    """A packed store of projected descriptors; what is there already is not written again."""
    root = "/photos"
    records = [ImageRecord(row, f"{first + row}.jpg", f"{root}/{first + row}.jpg") for row in range(rows)]
    manifest = Manifest.from_records(records, root)
    meta = StoreMeta(
        rows,
        SHARD_ROWS,
        "parquet",
        codec,
        TOPK,
        DIM,
        {"global": POOLED},
        manifest.digest,
        settings={"backbone": "dinov2_vitb14_reg", "projection": projection},
    )
    storage = Storage.at(path)
    writer = StoreWriter.open(storage, meta, manifest)
    tasks = writer.pending()
    locals_ = _locals()
    for task in tasks:
        random = np.random.default_rng(first + task.start)
        pooled = random.standard_normal((task.stop - task.start, POOLED), np.float32)
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            for record, vector in zip(manifest.records(task.start, task.stop), pooled, strict=True):
                local = locals_[(first + record.row) % _VARIANTS]
                shard.write([ImageFeatures(record, local, {"global": vector}, 1024, 768)])
            shard.publish()
    if tasks:
        writer.finish({})
    store = Store.open(str(path))
    if store.pack is None:
        store.make_pack()
    return store


def _locals() -> list[LocalFeatures]:
    random = np.random.default_rng(0)
    return [
        LocalFeatures(
            xy=random.random((TOPK, 2), np.float32) * 768,
            scale=np.zeros(TOPK, np.int8),
            weight=np.sort(random.random(TOPK, np.float32))[::-1].copy(),
            descriptors=np.where(random.standard_normal((TOPK, DIM)) > 0, 1, -1).astype(np.float32),
        )
        for _ in range(_VARIANTS)
    ]
