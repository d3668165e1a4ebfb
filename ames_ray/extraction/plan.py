"""How large a store will be, how long it takes and what it moves, before anything is computed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.descriptors.extractor import HASHES
from ames_ray.errors import ImageError, ResourceError
from ames_ray.images.read import file_size
from ames_ray.model.projection import PROJECTION
from ames_ray.store.admission import admit
from ames_ray.store.clear import stored_bytes
from ames_ray.store.meta import META, StoreMeta
from ames_ray.store.writer import StoreWriter

if TYPE_CHECKING:
    from ames_ray.datasets.manifest import Manifest
    from ames_ray.files import Storage

_MARGIN = 1.02
"""Parquet's own bytes stay below 2 % of a long payload (benchmarks/extraction.py)."""
_BESIDE_ROW = 100
"""Name, address, sizes and status of a row, about."""
_BESIDE_SHARD = 5_000
"""Schema and settings in a shard, and its mark, about."""
_SAMPLE = 200
"""Files that are looked at for the average size of one."""
_FEW = 100
"""Descriptors of an image that still rank well, for advice."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A store in numbers.

    Attributes:
        rows: Lines of the image list.
        missing_rows: Rows that are still to be made.
        shards: Files that will be made.
        row_bytes: Payload of one row.
        file_bytes: What a row takes in its file, all beside the payload included; rather more than less.
        missing_bytes: Upper bound for what is not on disk yet.
        free_bytes: Free space of the disk, none for an object store.
    """

    rows: int
    missing_rows: int
    shards: int
    row_bytes: int
    file_bytes: float
    missing_bytes: int
    free_bytes: int | None

    @property
    def fits(self) -> bool:
        """Whether the free space suffices."""
        return self.free_bytes is None or self.missing_bytes <= self.free_bytes


def make_plan(meta: StoreMeta, storage: Storage, missing_rows: int, freed_bytes: int = 0) -> Plan:
    """Count the store that `meta` describes.

    Args:
        meta: The store.
        storage: Where it is to lie.
        missing_rows: Rows of it that are still to be made.
        freed_bytes: What is deleted there before they are.
    """
    in_file = meta.row_bytes * _MARGIN + _BESIDE_ROW + _BESIDE_SHARD / min(meta.shard_rows, max(1, meta.rows))
    free = storage.free_bytes()
    free = None if free is None else free + freed_bytes
    missing = int(missing_rows * in_file)
    return Plan(meta.rows, missing_rows, meta.shards, meta.row_bytes, in_file, missing, free)


def plan_further(meta: StoreMeta, storage: Storage, manifest: Manifest, *, overwrite: bool) -> Plan:
    """Count what an extraction into a folder would still make, or with `overwrite` make anew.

    Args:
        meta: The store, as far as it is known without reading weights.
        storage: Where it is to lie, or lies in part.
        manifest: Its image list.
        overwrite: Whether what lies there would be deleted.

    Raises:
        StoreError: The folder holds something that an extraction would not go on with.
    """
    if overwrite:
        return make_plan(meta, storage, meta.rows, stored_bytes(storage))
    if storage.exists(META):
        # Which weights made it is not known here; an extraction would compare them.
        made = StoreMeta.from_json(storage.read(META), storage.address(META)).settings
        hashes = {name: made[name] for name in HASHES if name in made}
        meta = replace(meta, settings=hashes | meta.settings)
    admit(storage, meta, manifest)
    return make_plan(meta, storage, sum(task.todo for task in StoreWriter(storage, meta).pending()))


@dataclass(frozen=True, slots=True)
class Pace:
    """An extraction at a known rate.

    Attributes:
        images_per_second: Of all workers together.
        seconds: From the first image to the last.
        worker_hours: Hours times workers.
        read_per_second: Bytes of image files, over the network where they lie elsewhere; none if unknown.
        written_per_second: Bytes of shards, likewise.
    """

    images_per_second: float
    seconds: float
    worker_hours: float
    read_per_second: float | None
    written_per_second: float


def make_pace(plan: Plan, image_bytes: float | None, rate: float, workers: int) -> Pace:
    """Time and bandwidth of a plan.

    Args:
        plan: What is to be made.
        image_bytes: Average size of an image file; none if unknown.
        rate: Images/s of one worker.
        workers: Workers that keep up this rate at once.
    """
    together = rate * workers
    seconds = plan.missing_rows / together
    return Pace(
        images_per_second=together,
        seconds=seconds,
        worker_hours=seconds * workers / 3600,
        read_per_second=None if image_bytes is None else image_bytes * together,
        written_per_second=plan.file_bytes * together,
    )


def average_file_bytes(manifest: Manifest) -> tuple[float | None, int]:
    """Average size of an image file, from at most 200 files evenly spread over the list.

    Returns:
        Bytes, none where no file could be looked at; and how many were.
    """
    rows = np.linspace(0, len(manifest) - 1, min(_SAMPLE, len(manifest))).round().astype(int)
    sizes = []
    for row in rows.tolist():
        with suppress(ImageError):
            sizes.append(file_size(manifest.record(row).uri))
    return (sum(sizes) / len(sizes) if sizes else None), len(sizes)


def require_room(plan: Plan, meta: StoreMeta, where: str) -> None:
    """Refuse what cannot fit.

    Raises:
        ResourceError: Needed and free bytes, and what would be smaller.
    """
    if plan.fits or plan.free_bytes is None:
        return
    smaller = [f"{name}: {size(total)}" for name, total in cheaper(meta).items()]
    raise ResourceError(
        f"the store needs {size(plan.missing_bytes)} more, {where} has {size(plan.free_bytes)} free",
        "free some space or write elsewhere" + (f", or store less: {'; '.join(smaller)}" if smaller else ""),
    )


def cheaper(meta: StoreMeta) -> dict[str, int]:
    """Bytes of the whole store under choices that make it smaller, by the words that ask for them."""
    choices = {f"topk={_FEW}": replace(meta, topk=_FEW)} if meta.topk > _FEW else {}
    # With a projection, its model decides how payloads are stored.
    if meta.codec == "float32" and PROJECTION not in meta.settings:
        both = {f"codec=float16 {words}": replace(less, codec="float16") for words, less in choices.items()}
        choices = {"codec=float16": replace(meta, codec="float16"), **choices, **both}
    return {words: less.rows * less.row_bytes for words, less in choices.items()}


def size(count: float) -> str:
    """Bytes for people, in powers of 1000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
