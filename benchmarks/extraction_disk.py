"""Shards against plain files of the same bytes, and against the computed ideal size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures
from benchmarks.record import save, spread

ROWS, TOPK, DIM = 256, 700, 768


def disk(folder: Path, repeats: int = 5) -> None:
    """Write and read one shard of 256 images × 700 × 768 in float16, 0.28 GB, and the same bytes plainly."""
    records = [ImageRecord(row, f"{row:04d}.jpg", str(folder / f"{row:04d}.jpg")) for row in range(ROWS)]
    features = _features(records)
    manifest = Manifest.from_records(records, str(folder))
    meta = StoreMeta(ROWS, ROWS, "parquet", "float16", TOPK, DIM, {"global": DIM}, manifest.digest)
    payload = meta.row_bytes * ROWS
    blob = np.random.default_rng(0).bytes(payload)
    times: dict[str, list[float]] = {name: [] for name in ("write", "plain_write", "read", "plain_read")}
    stored = 0
    for repeat in range(repeats):
        storage = Storage.at(folder / f"store{repeat}")
        writer = StoreWriter.open(storage, meta, manifest)
        plain = folder / "plain.bin"
        times["plain_write"].append(_timed(lambda path=plain: _plain_write(path, blob)))  # type: ignore[misc]
        times["write"].append(_timed(lambda to=storage: _write(to, meta, features)))  # type: ignore[misc]
        writer.finish({})
        store = Store.open(storage.uri)
        stored = store.summaries[0].bytes
        times["plain_read"].append(_timed(lambda path=plain: len(path.read_bytes())))  # type: ignore[misc]
        times["read"].append(_timed(lambda from_=store: from_.read(range(ROWS))))  # type: ignore[misc]
    gigabytes = {name: spread([payload / s / 1e9 for s in seconds], 2) for name, seconds in times.items()}
    save(
        "extraction",
        "disk",
        {
            "what": f"a shard of {ROWS} × {TOPK} × {DIM} float16; writes fsync, reads hit the page cache",
            "gb_per_s": gigabytes,
            "write_ratio": _ratio(gigabytes, "write"),
            "read_ratio": _ratio(gigabytes, "read"),
            "bytes_per_image": round(stored / ROWS),
            "ideal_bytes_per_image": meta.row_bytes,
            "overhead_percent": round(100 * (stored / payload - 1), 2),
        },
    )


def _ratio(gigabytes: dict[str, dict[str, Any]], name: str) -> float:
    return round(float(gigabytes[name]["median"]) / float(gigabytes[f"plain_{name}"]["median"]), 2)


def _features(records: list[ImageRecord]) -> list[ImageFeatures]:
    random = np.random.default_rng(0)
    found = []
    for record in records:
        local = LocalFeatures(
            random.random((TOPK, 2), dtype=np.float32),
            np.zeros(TOPK, np.int8),
            np.sort(random.random(TOPK, dtype=np.float32))[::-1].copy(),
            random.standard_normal((TOPK, DIM), dtype=np.float32),
        )
        pooled = {"global": random.standard_normal(DIM, dtype=np.float32)}
        found.append(ImageFeatures(record, local, pooled, 640, 480))
    return found


def _write(storage: Storage, meta: StoreMeta, features: list[ImageFeatures]) -> None:
    with ShardWriter(storage, meta, 0, 0, ROWS) as shard:
        shard.write(features)
        shard.publish()


def _plain_write(path: Path, blob: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(blob)
        handle.flush()
        os.fsync(handle.fileno())


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
