"""Rows a second of the training loader from every layout on disk, and how long a step waits for it.

python -m benchmarks.loader --folder /big/disk             # 100,000 images, 55 GB while it runs
python -m benchmarks.loader --folder /tmp --images 2000    # a try
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
from ames_ray.retrieval.gallery import Gallery
from ames_ray.store.meta import PACK, StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.training.loader import TripletLoader
from ames_ray.training.plan import DescriptorCounts, StepPlan
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures
from benchmarks.record import save

BATCH, FEWEST = 100, 10
SHARD_ROWS = 64
DIFFERENT = 61  # images with different bytes; more would only take longer to make


@dataclass(frozen=True)
class Size:
    """How much lies on the disk, and how much of it is read."""

    images: int
    topk: int
    dim: int
    steps: int
    step_seconds: float


def make_store(folder: Path, size: Size, form: str, codec: str) -> Path:
    """A store of random descriptors; one that is there is taken."""
    path = folder / f"loader-{form}-{codec}-{size.images}-{size.topk}-{size.dim}"
    records = [ImageRecord(row, f"{row:08d}", f"/none/{row:08d}.jpg") for row in range(size.images)]
    manifest = Manifest.from_records(records, "/none")
    meta = StoreMeta(size.images, SHARD_ROWS, form, codec, size.topk, size.dim, {}, manifest.digest)
    storage = Storage.at(path)
    writer = StoreWriter.open(storage, meta, manifest)
    made = [_local(number, size) for number in range(DIFFERENT)]
    for task in writer.pending():
        rows = records[task.start : task.stop]
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            shard.write([ImageFeatures(r, made[r.row % DIFFERENT], {}, 800, 600) for r in rows])
            shard.publish()
    writer.finish({"job": "benchmark"})
    return path


def _local(number: int, size: Size) -> LocalFeatures:
    random = np.random.default_rng(number)
    return LocalFeatures(
        random.random((size.topk, 2), np.float32),
        np.zeros(size.topk, np.int8),
        np.linspace(1, 0, size.topk, dtype=np.float32),
        random.standard_normal((size.topk, size.dim), np.float32),
    )


def plans(size: Size) -> list[StepPlan]:
    """Random triplets with the counts of the recipe."""
    random = np.random.default_rng(0)
    counts = DescriptorCounts(0, min(FEWEST, size.topk - 1), size.topk)
    drawn = [counts.draw(step) for step in range(size.steps)]
    triplets = [random.integers(0, size.images, (BATCH, 3)) for _ in drawn]
    return [
        StepPlan(0, step, t, *count, *count)
        for step, (t, count) in enumerate(zip(triplets, drawn, strict=True))
    ]


def read(uri: str, size: Size, worker: int, workers: int, step_seconds: float) -> dict[str, float]:
    """One worker: its share of every batch, a step of so many seconds after each."""
    loader = TripletLoader(Gallery.open([uri]), size.topk)
    shares = [plan.share(worker, workers) for plan in plans(size)]
    loader.batch(np.zeros((1, 3), np.int64), 1, 1)  # what happens once is not what is measured
    waited, bytes_read, rows = 0.0, 0, 0
    began = time.perf_counter()
    for plan, batch, seconds in loader.prefetched(shares):
        waited += seconds
        rows += plan.triplets.size
        bytes_read += batch.anchor.nbytes + batch.others.nbytes
        time.sleep(step_seconds)
    return {"rows": rows, "bytes": bytes_read, "waited": waited, "seconds": time.perf_counter() - began}


def measure(uri: str, files: list[Path], size: Size) -> dict[str, Any]:
    """Rates as fast as one worker goes, from the disk and from memory; then the share of time waiting."""
    result: dict[str, Any] = {}
    for name in ("cold", "warm"):
        if name == "cold":
            forget(files)
        found = read(uri, size, 0, 1, 0.0)
        result[name] = {
            "rows_per_s": round(found["rows"] / found["seconds"]),
            "gb_per_s": round(found["bytes"] / found["seconds"] / 1e9, 3),
        }
    for workers in (1, 2):
        forget(files)
        work = [(uri, size, worker, workers, size.step_seconds) for worker in range(workers)]
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            found_all = pool.starmap(read, work)
        shares = [found["waited"] / found["seconds"] for found in found_all]
        result[f"waiting_{workers}_workers"] = round(sum(shares) / workers, 3)
    return result


def forget(files: list[Path]) -> None:
    """Drop what the system keeps of files in memory."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


# Name, format, codec, and whether the packed copy is read.
LAYOUTS = {
    "shards": ("parquet", "float16", False),
    "packed": ("parquet", "float16", True),
    "authors' compound layout, float16": ("hdf5", "float16", False),
    "authors' plain layout, float32": ("hdf5", "float32", False),
}


def measure_layout(name: str, folder: Path, size: Size) -> dict[str, Any]:
    """Make what is to be read, and read it."""
    form, codec, packed = LAYOUTS[name]
    store = make_store(folder, size, form, codec)
    (store / PACK).unlink(missing_ok=True)
    if packed:
        Store.open(str(store)).make_pack()
    return measure(str(store), [path for path in store.rglob("*") if path.is_file()], size)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="disk to measure")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--topk", type=int, default=400)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--step-seconds", type=float, default=0.5, help="what the network takes for a batch")
    parser.add_argument("--keep", action="store_true", help="leave the stores for the next run")
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=list(LAYOUTS))
    asked = parser.parse_args()
    size = Size(asked.images, asked.topk, asked.dim, asked.steps, asked.step_seconds)
    what = (
        f"{size.images:,} images × {size.topk} × {size.dim}, {BATCH} triplets a step of {size.step_seconds} s"
    )
    try:
        found = {name: measure_layout(name, asked.folder, size) for name in asked.layouts}
    finally:
        if not asked.keep:
            for store in asked.folder.glob(f"loader-*-{size.images}-{size.topk}-{size.dim}"):
                shutil.rmtree(store)
    save("loader", f"{size.images} images", {"what": what, "layouts": found})


if __name__ == "__main__":
    main()
