"""A random sample of a store's descriptors, the same whoever reads it and in however many pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.training.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.training.prefixes import DescriptorSource
    from ames_ray.types import AnyArray, BoolArray, IntArray

_CHUNK_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class SamplePlan:
    """Which descriptors are taken.

    Attributes:
        rows: (R,) int64 rows, ascending.
        per_image: Descriptors of each, fewer where it has fewer.
        max_desc: They are among the strongest so many.
        seed: Decides which.
    """

    rows: IntArray
    per_image: int
    max_desc: int
    seed: int

    def chunks(self) -> list[IntArray]:
        """The rows in pieces that are read at once; they do not depend on who reads them."""
        return [self.rows[i : i + _CHUNK_ROWS] for i in range(0, len(self.rows), _CHUNK_ROWS)]


def plan_sample(ok: BoolArray, size: int, *, per_image: int, max_desc: int, seed: int) -> SamplePlan:
    """Choose images, and how many descriptors of each.

    Args:
        ok: (rows,) bool, True for rows that have descriptors.
        size: Descriptors wanted in all, about.
        per_image: Descriptors of an image; more where there are too few images.
        max_desc: Only the strongest of an image may be taken.
        seed: Decides the images and their descriptors.

    Raises:
        StoreError: No row has descriptors.
    """
    usable = np.flatnonzero(ok)
    if not len(usable):
        raise StoreError("every row of the store has failed", "`ames-ray store info` says why")
    images = min(len(usable), -(-size // min(per_image, max_desc)))
    rows = np.random.default_rng(seed).permutation(usable)[:images]
    return SamplePlan(np.sort(rows), min(max_desc, -(-size // images)), max_desc, seed)


def take(source: DescriptorSource, plan: SamplePlan, rows: IntArray) -> AnyArray:
    """The sampled descriptors of some rows, (M, D) as stored, row by row.

    Raises:
        StoreError: A shard is damaged, or the store holds sign bits.
    """
    found = source.read(rows, plan.max_desc)
    if found.descriptors.dtype.kind != "f":
        raise StoreError(f"{source.uri} holds sign bits", "name the store that they were made from")
    parts = []
    for row, descriptors, valid in zip(rows, found.descriptors, found.valid, strict=True):
        random = np.random.default_rng((plan.seed, int(row)))
        places = random.permutation(int(valid.sum()))[: plan.per_image]
        parts.append(descriptors[np.sort(places)])
    return np.concatenate(parts)


def gather(
    plan: SamplePlan,
    read: Callable[[IntArray], AnyArray],
    *,
    readers: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> AnyArray:
    """The whole sample (M, D), in the order of the rows.

    Args:
        plan: What to take.
        read: `take` of some rows, here or elsewhere; called by `readers` threads.
        readers: Pieces that are read at once. Twice as many are held beside the sample.
        report: Told how many images are read, and how many there are in all.
    """
    sample: AnyArray | None = None
    taken = images = 0
    for rows, part, _ in ahead(plan.chunks(), read, depth=2 * readers, threads=readers):
        if sample is None:
            sample = np.empty((len(plan.rows) * plan.per_image, part.shape[1]), part.dtype)
        sample[taken : taken + len(part)] = part
        taken, images = taken + len(part), images + len(rows)
        if report is not None:
            report(images, len(plan.rows))
    if sample is None:
        return np.empty((0, 0), np.float32)
    return sample[:taken]
