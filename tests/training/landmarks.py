"""A store of made-up landmarks that a small network can learn to tell apart in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ames_ray.datasets.manifest import Manifest
from ames_ray.evaluation.score_files import save_scores
from ames_ray.files import Storage
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.types import AnyArray, FloatArray, ImageFeatures, ImageRecord, LocalFeatures

LANDMARKS, VIEWS, DIM, TOPK = 6, 8, 24, 12


def _unit(values: AnyArray) -> FloatArray:
    normed: FloatArray = (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)
    return normed


def _features(record: ImageRecord, seed: int) -> ImageFeatures:
    """A view: most of the landmark's descriptors a little changed, in any order, among foreign ones."""
    landmark = int(record.label or 0)
    own = np.random.default_rng(landmark).standard_normal((TOPK, DIM))
    random = np.random.default_rng((seed, record.row))
    count = TOPK if record.row % 5 else TOPK - 3
    kept = random.permutation(TOPK)[:count]
    descriptors = own[kept] + 0.3 * random.standard_normal((count, DIM))
    descriptors[: count // 4] = random.standard_normal((count // 4, DIM))
    weight = np.sort(random.random(count).astype(np.float32))[::-1]
    local = LocalFeatures(
        random.random((count, 2)).astype(np.float32) * 100,
        np.zeros(count, np.int8),
        weight,
        _unit(descriptors),
    )
    pooled = {"global": _unit(own.mean(axis=0) + 0.35 * random.standard_normal(DIM))}
    return ImageFeatures(record, local, pooled, 120, 100)


def make_landmarks(path: Path, views: int = VIEWS, seed: int = 0) -> Store:
    """Write `views` views of each landmark, one landmark after the other."""
    records = [
        ImageRecord(row, f"img{seed}-{row}", f"/photos/{seed}/img{row}.jpg", label=str(row // views))
        for row in range(LANDMARKS * views)
    ]
    manifest = Manifest.from_records(records, "/photos")
    meta = StoreMeta(
        rows=len(manifest),
        shard_rows=16,
        format="parquet",
        codec="float32",
        topk=TOPK,
        dim=DIM,
        pooled={"global": DIM},
        manifest_digest=manifest.digest,
        settings={"backbone": "test"},
    )
    storage = Storage.at(path)
    writer = StoreWriter.open(storage, meta, manifest)
    for task in writer.pending():
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            for record in manifest.records(task.start, task.stop):
                shard.write([_features(record, seed)])
            shard.publish()
    writer.finish({"job": "test"})
    return Store.open(str(path))


def make_training_folder(folder: Path) -> Path:
    """`train`, `query` and `gallery` stores, `nn.parquet` of the first, `gnd.json` of the others."""
    train = make_landmarks(folder / "train")
    query, gallery = (
        make_landmarks(folder / "query", 1, seed=1),
        make_landmarks(folder / "gallery", 4, seed=2),
    )
    near = find_neighbors(train, Gallery((train,)), "global", None, exclude_self=True)
    save_scores(near, str(folder / "nn.parquet"))
    gnd = [
        {"easy": [], "hard": [4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3], "junk": []} for n in range(LANDMARKS)
    ]
    names = {
        "imlist": [record.image_id for record in gallery.manifest],
        "qimlist": [record.image_id for record in query.manifest],
    }
    (folder / "gnd.json").write_text(json.dumps({**names, "gnd": gnd}))
    return folder
