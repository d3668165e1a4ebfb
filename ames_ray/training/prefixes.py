"""The strongest descriptors of scattered rows, each row read once and in the order of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.types import FeatureBatch

if TYPE_CHECKING:
    from ames_ray.types import IntArray


class DescriptorSource(Protocol):
    """What descriptors are read from: one store, or several as a gallery."""

    @property
    def uri(self) -> str:
        """What messages call it."""

    @property
    def topk(self) -> int:
        """Most descriptors of a row."""

    def __len__(self) -> int:
        """Rows."""

    def read(self, rows: IntArray, count: int) -> FeatureBatch:
        """The strongest `count` descriptors of some rows, in the given order."""


def read_prefixes(source: DescriptorSource, *wanted: tuple[IntArray, int]) -> list[FeatureBatch]:
    """Several readings at once, as `source.read` would give each.

    A row that is wanted more than once is read once, as long as its longest prefix, and rows are read in
    ascending order: their bytes lie one after the other in packed files, shards and HDF5 files alike.

    Args:
        source: What to read from.
        wanted: Rows (B,) and how many descriptors of each.

    Returns:
        A batch for each of `wanted`.

    Raises:
        StoreError: A row or a count is outside of the source, or it holds sign bits.
    """
    rows, places = np.unique(np.concatenate([rows for rows, _ in wanted]), return_inverse=True)
    parts = np.split(places, np.cumsum([len(rows) for rows, _ in wanted])[:-1])
    lengths = np.zeros(len(rows), np.int64)
    for part, (_, count) in zip(parts, wanted, strict=True):
        np.maximum.at(lengths, part, count)
    batches: list[FeatureBatch] = []
    for length in np.unique(lengths):
        group = np.flatnonzero(lengths == length)
        found = source.read(rows[group], int(length))
        _require_numbers(found, source)
        batches = batches or [_empty(asked, count, found) for asked, count in wanted]
        for batch, part in zip(batches, parts, strict=True):
            _fill(batch, found, np.flatnonzero(lengths[part] == length), np.searchsorted(group, part))
    return batches


def _fill(batch: FeatureBatch, found: FeatureBatch, here: IntArray, places: IntArray) -> None:
    """Copy what was found into the rows `here` of a batch, whose place among the found ones is known."""
    if not len(here):
        return
    count = batch.valid.shape[1]
    batch.descriptors[here] = found.descriptors[places[here], :count]
    batch.valid[here] = found.valid[places[here], :count]


def _empty(rows: IntArray, count: int, like: FeatureBatch) -> FeatureBatch:
    shape = (len(rows), count, like.descriptors.shape[2])
    descriptors = np.empty(shape, like.descriptors.dtype)
    return FeatureBatch(np.asarray(rows, np.int64), descriptors, np.empty(shape[:2], np.bool_))


def _require_numbers(found: FeatureBatch, source: DescriptorSource) -> None:
    if found.descriptors.dtype.kind != "f":
        raise StoreError(
            f"{source.uri} holds sign bits, and raw descriptors are needed",
            "name the store that they were made from",
        )
