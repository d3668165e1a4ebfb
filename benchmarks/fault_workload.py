"""A command for the fault suite to disturb, and what workloads have in common."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ames_ray.datasets.manifest import Manifest
from ames_ray.files import Storage
from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.model.reranker import Reranker
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from ames_ray.store.writer import ShardWriter, StoreWriter
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures

ROOT = Path(__file__).resolve().parents[1]
LANDMARKS, VIEWS = 12, 8
IMAGES = LANDMARKS * VIEWS
TOPK, DIM = 60, 32


@dataclass(frozen=True)
class Workload:
    """One command.

    Attributes:
        name: For the table.
        prepare: Makes the input in a folder, which other workloads may have filled already.
        words: The command for a folder with the input and an output.
        rows: What was made, a number each: rows of a store, pairs of a file of scores, steps, points.
        expected: How many there must be, all different.
        digest: All of an output that must be as in an undisturbed run, each under a name of its own.
        begun: Pattern of the files that tell that there is something to go on from.
        worker: Part of the name of the processes that have the work in hand, if anything sees them stall.
        moments: Moments at which a process can be made to die.
        can_tear: Whether the last of those files may be cut short as well, as a power cut does.
    """

    name: str
    prepare: Callable[[Path], None]
    words: Callable[[Path, Path], list[str]]
    rows: Callable[[Path], list[int]]
    expected: int
    digest: Callable[[Path], dict[str, str]]
    begun: str
    worker: str = ""
    moments: tuple[str, ...] = ()
    can_tear: bool = False

    def start(self, inputs: Path, output: Path, **variables: str) -> subprocess.Popen[bytes]:
        """The command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ames_ray.cli.main", *self.words(inputs, output)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def make_store(folder: Path) -> Store:
    """`store`, written without Ray: some views of each landmark, one landmark after the other."""
    records = [
        ImageRecord(row, f"{row:04d}.jpg", f"{row:04d}.jpg", label=str(row // VIEWS)) for row in range(IMAGES)
    ]
    manifest = Manifest.from_records(records, "/photos")
    meta = StoreMeta(
        rows=IMAGES,
        shard_rows=16,
        format="parquet",
        codec="float32",
        topk=TOPK,
        dim=DIM,
        pooled={"global": DIM},
        manifest_digest=manifest.digest,
        settings={"backbone": "random"},
    )
    storage = Storage.at(folder / "store")
    writer = StoreWriter.open(storage, meta, manifest)
    for task in writer.pending():
        with ShardWriter(storage, meta, task.shard, task.start, task.stop) as shard:
            shard.write([_view(record) for record in manifest.records(task.start, task.stop)])
            shard.publish()
    if not storage.exists("card.json"):
        writer.finish({})
    return Store.open(storage.uri)


def _view(record: ImageRecord) -> ImageFeatures:
    """Descriptors of its landmark, each a little changed."""
    own = np.random.default_rng(record.row // VIEWS).standard_normal((TOPK, DIM))
    random = np.random.default_rng((1, record.row))
    changed = own + 0.5 * random.standard_normal(own.shape)
    descriptors = (changed / np.linalg.norm(changed, axis=1, keepdims=True)).astype(np.float32)
    mean = changed.mean(axis=0)
    local = LocalFeatures(
        random.random((TOPK, 2), np.float32), np.zeros(TOPK, np.int8), np.ones(TOPK, np.float32), descriptors
    )
    pooled = {"global": (mean / np.linalg.norm(mean)).astype(np.float32)}
    return ImageFeatures(record, local, pooled, 64, 48)


def pairs(folder: Path) -> list[str]:
    """Every image as a query, and in the gallery."""
    return [f"query={folder / 'store'}", f"gallery={folder / 'store'}"]


def make_network(path: Path, dim: int) -> Reranker:
    """A small network with random weights, the same every time."""
    torch.manual_seed(0)
    model = Ames(AmesOptions(DIM, dim=dim, blocks=2, feedforward=2 * dim))
    save_ames(model, path)
    return AmesReranker(model)


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
