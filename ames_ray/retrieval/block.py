"""One block of gallery rows against one group of queries, and the joining of what several blocks gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

Lists = tuple[IntArray, FloatArray]
"""(Q, K) int64 rows, best first, filled up with -1; (Q, K) float32 similarities, -inf there."""

QUERY_ROWS = 256
"""Queries that meet a block at once: their similarities to 16,384 rows take 16 MB."""
MERGED_VALUES = 4_000_000
"""Similarities that are sorted at once, where lists are long."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Gallery rows that a product can take.

    Attributes:
        rows: (N,) int64 their numbers, ascending; rows that are not finite are left out.
        columns: (D, N) float32.
    """

    rows: IntArray
    columns: torch.Tensor

    @classmethod
    def of(cls, values: FloatArray, first: int) -> Self:
        """From (N, D) descriptors, the first of which is gallery row `first`."""
        usable = np.flatnonzero(np.isfinite(values).all(axis=1))
        return cls(first + usable, _tensor(values[usable]).t())


def block_neighbors(
    queries: FloatArray, block: Block, size: int | None, bar: FloatArray, itself: int | None = None
) -> Lists:
    """The rows of a block that may be among the nearest.

    Args:
        queries: (Q, D) float32. A query that is not finite has no neighbours.
        block: The rows.
        size: Length of a list, or none for all rows.
        bar: (Q,) similarities to exceed.
        itself: Gallery row that is the first query, the next one the second, and so on, none of them its own
            neighbour; None where queries are no gallery rows.

    Raises:
        DatasetError: Descriptors of another width than the queries'.
    """
    if len(block.columns) != queries.shape[1]:
        raise DatasetError(
            f"gallery descriptors are {len(block.columns)} wide, the queries {queries.shape[1]}",
            "both must be the same global descriptor of the same backbone",
        )
    parts = []
    for start in range(0, len(queries), QUERY_ROWS):
        part = slice(start, start + QUERY_ROWS)
        similarities: FloatArray = (_tensor(queries[part]) @ block.columns).numpy()
        similarities[~np.isfinite(queries[part]).all(axis=1)] = -np.inf
        if itself is not None:
            numbers = itself + np.arange(start, start + len(similarities))
            similarities[numbers[:, None] == block.rows] = -np.inf
        parts.append(_above(similarities, block.rows, bar[part], size))
    return stacked([merge([part], size) for part in parts])


class Best:
    """The best of what block after block gives for a group of queries.

    Args:
        queries: How many.
        size: Length of a list, or none for all.
    """

    def __init__(self, queries: int, size: int | None) -> None:
        self._size = size
        self._parts: list[Lists] = [(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))]

    def __len__(self) -> int:
        return len(self._parts[0][0])

    def add(self, found: Lists) -> None:
        """Take what `block_neighbors` gave; blocks have to come in ascending order of their rows."""
        self._parts.append(found)
        # As long as no list is full, a sort would leave nothing out.
        if self._size and sum(rows.shape[1] for rows, _ in self._parts) >= self._size:
            self._parts = [merge(self._parts, self._size)]

    @property
    def bar(self) -> FloatArray:
        """(Q,) what a similarity has to exceed: the last one of a full list."""
        similarities = self._parts[0][1]
        if self._size is None or similarities.shape[1] < self._size:
            return np.full(len(similarities), -np.inf, np.float32)
        return similarities[:, self._size - 1]

    def lists(self) -> Lists:
        """The lists, sorted."""
        if len(self._parts) > 1:
            self._parts = [merge(self._parts, self._size)]
        return self._parts[0]


def merge(parts: list[Lists], size: int | None) -> Lists:
    """Several lists of the same queries as one, where rows of a later part are larger than those before."""
    width = sum(rows.shape[1] for rows, _ in parts)
    shape = (len(parts[0][0]), width if size is None else min(size, width))
    rows, similarities = np.empty(shape, np.int64), np.empty(shape, np.float32)
    step = max(1, MERGED_VALUES // max(1, width))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        values = np.concatenate([values[part] for _, values in parts], axis=1)
        # Stable: of equal similarities the lower row stays in front.
        order = np.argsort(-values, axis=1, kind="stable")[:, :size]
        similarities[part] = np.take_along_axis(values, order, 1)
        rows[part] = np.take_along_axis(np.concatenate([rows[part] for rows, _ in parts], axis=1), order, 1)
    return rows, similarities


def stacked(parts: list[Lists]) -> Lists:
    """The lists of several groups of queries, one after another."""
    if len(parts) == 1:
        return parts[0]
    width = max((part.shape[1] for part, _ in parts), default=0)
    rows = np.full((sum(len(part) for part, _ in parts), width), -1, np.int64)
    values = np.full(rows.shape, -np.inf, np.float32)
    start = 0
    for part, similarities in parts:
        here = (slice(start, start + len(part)), slice(part.shape[1]))
        rows[here], values[here] = part, similarities
        start += len(part)
    return rows, values


def _tensor(values: FloatArray) -> torch.Tensor:
    """A copy in torch's own memory: where numbers begin there decides the last bits of a product."""
    import torch

    return torch.tensor(values)


def _above(similarities: FloatArray, rows: IntArray, bar: FloatArray, size: int | None) -> Lists:
    """The rows with a similarity above the bar, ascending, filled up at the end with -1 and -inf."""
    kept = similarities > bar[:, None]
    crowded = np.flatnonzero(kept.sum(axis=1) > size) if size else np.empty(0, np.int64)
    if size and len(crowded):
        # Of the last place's equals all stay, until sorting has told which row is lower.
        last = np.partition(similarities[crowded], -size, axis=1)[:, [-size]]
        kept[crowded] &= similarities[crowded] >= last
    query, column = np.nonzero(kept)
    counts = np.bincount(query, minlength=len(similarities))
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(similarities), int(counts.max(initial=0)))
    found = np.full(shape, -1, np.int64)
    values = np.full(shape, -np.inf, np.float32)
    found[query, place] = rows[column]
    values[query, place] = similarities[query, column]
    return found, values
