"""Exact nearest neighbours by inner product, for any gallery size and any length of the list.

A blocked matrix product: memory depends on the block sizes and the lists alone, never on queries × gallery.
Blocks are fixed ranges of rows and equal similarities are ordered by row, so that duplicates in a gallery,
or another number of workers, cannot change a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError, DatasetError, StoreError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.gallery import Gallery, differences

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ames_ray.store.reader import Store
    from ames_ray.types import AnyArray, BoolArray, FloatArray, IntArray

BLOCK_ROWS = 65_536
"""Gallery rows of a block."""
QUERY_ROWS = 256
"""Queries that meet a block at once: their similarities take 64 MB."""
MERGED_VALUES = 4_000_000
"""Similarities that are sorted at once, where lists are long."""


def find_neighbors(
    query: Store, gallery: Gallery, pooled: str, shortlist_size: int | None, *, exclude_self: bool = False
) -> Shortlist:
    """The gallery images nearest to each query.

    Failed gallery rows are nobody's neighbours; a failed query has none.

    Args:
        query: Store of the queries.
        gallery: One or more stores.
        pooled: Name of the global descriptor.
        shortlist_size: Length K of a list; none for the whole gallery.
        exclude_self: The gallery is the query list, and no image is its own neighbour.

    Raises:
        ConfigError: `shortlist_size` is not positive.
        StoreError: A store lacks the descriptor; the stores were not made with equal settings; or
            `exclude_self` is set and the lists differ.
    """
    _check_pair(query, gallery, exclude_self=exclude_self)
    queries = query.pooled(pooled)
    queries[~query.ok] = np.nan
    blocks = _without_failed(gallery.pooled(pooled, BLOCK_ROWS), gallery.ok)
    rows, similarities = nearest(queries, blocks, shortlist_size, exclude_self=exclude_self)
    return Shortlist(
        rows,
        similarities,
        query.meta.manifest_digest,
        gallery.manifest_digest,
        {"descriptor": pooled, "index": "exact", "exclude_self": exclude_self},
    )


def nearest(
    queries: FloatArray, gallery: Iterable[FloatArray], size: int | None, *, exclude_self: bool = False
) -> tuple[IntArray, FloatArray]:
    """The `size` gallery rows with the largest inner products, best first; of equal ones the lower row.

    Args:
        queries: (Q, D) float32. A query that is not finite has no neighbours.
        gallery: Blocks (N, D) float32; their rows are counted on. A row that is not finite is passed over.
        size: Length K of a list, or none for the whole gallery; a gallery of fewer rows gives shorter lists.
        exclude_self: Gallery row i is query i, and is not its own neighbour.

    Returns:
        (Q, K) int64 rows, -1 where there are no more; (Q, K) float32 similarities, NaN there.

    Raises:
        ConfigError: `size` is not positive.
        DatasetError: Descriptors of another width than the queries'.
    """
    if size is not None and size < 1:
        raise ConfigError(f"shortlist_size={size}: allowed are whole numbers from 1, or null for all")
    best = (np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
    first = 0
    for block in gallery:
        found = block_neighbors(queries, block, first, size, best[1], exclude_self=exclude_self)
        best = merge(best, found, size)
        first += len(block)
    rows, similarities = best
    similarities[rows < 0] = np.nan
    return rows, similarities


def block_neighbors(
    queries: FloatArray,
    block: FloatArray,
    first: int,
    size: int | None,
    known: FloatArray,
    *,
    exclude_self: bool = False,
) -> tuple[IntArray, FloatArray]:
    """The rows of one block that may be among the nearest, as `nearest` gives them, -inf at padding.

    Args:
        queries: (Q, D) float32.
        block: (N, D) float32.
        first: Gallery row of the block's first one.
        size: Length of a list, or none.
        known: (Q, K) similarities of earlier rows, best first; what cannot follow on them is left out.
        exclude_self: See `nearest`.
    """
    if block.ndim != 2 or block.shape[1] != queries.shape[1]:
        raise DatasetError(
            f"gallery descriptors have shape {block.shape}, the queries are {queries.shape[1]} wide",
            "both must be the same global descriptor of the same backbone",
        )
    usable = np.flatnonzero(np.isfinite(block).all(axis=1))
    columns = np.ascontiguousarray(block[usable].T)
    parts = []
    for start in range(0, len(queries), QUERY_ROWS):
        part = slice(start, start + QUERY_ROWS)
        with np.errstate(invalid="ignore"):
            similarities = queries[part] @ columns
        if exclude_self:
            numbers = np.arange(start, start + len(similarities))
            similarities[numbers[:, None] == first + usable] = -np.inf
        parts.append(_above(similarities, first + usable, _bar(known[part], size)))
    return _stacked(parts, size)


def merge(
    best: tuple[IntArray, FloatArray], found: tuple[IntArray, FloatArray], size: int | None
) -> tuple[IntArray, FloatArray]:
    """One list of two, where every row of `found` is larger than every row of `best`."""
    width = best[0].shape[1] + found[0].shape[1]
    shape = (len(best[0]), width if size is None else min(size, width))
    rows, similarities = np.empty(shape, np.int64), np.empty(shape, np.float32)
    step = max(1, MERGED_VALUES // max(1, width))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        values = np.concatenate([best[1][part], found[1][part]], axis=1)
        # Stable: of equal similarities the lower row stays in front.
        order = np.argsort(-values, axis=1, kind="stable")[:, :size]
        similarities[part] = np.take_along_axis(values, order, 1)
        both = np.concatenate([best[0][part], found[0][part]], axis=1)
        rows[part] = np.take_along_axis(both, order, 1)
    return rows, similarities


def _bar(known: FloatArray, size: int | None) -> FloatArray:
    """(Q, 1) what a similarity has to exceed: the last one of a full list."""
    if size is None or known.shape[1] < size:
        return np.full((len(known), 1), -np.inf, np.float32)
    return known[:, size - 1 : size]


def _above(similarities: FloatArray, rows: IntArray, bar: FloatArray) -> tuple[IntArray, FloatArray]:
    """The rows with a similarity above the bar, ascending, filled up at the end with -1 and -inf."""
    query, column = np.nonzero(similarities > bar)
    counts = np.bincount(query, minlength=len(similarities))
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(similarities), int(counts.max(initial=0)))
    found = np.full(shape, -1, np.int64)
    values = np.full(shape, -np.inf, np.float32)
    found[query, place] = rows[column]
    values[query, place] = similarities[query, column]
    return found, values


def _stacked(parts: list[tuple[IntArray, FloatArray]], size: int | None) -> tuple[IntArray, FloatArray]:
    """Lists of all queries, sorted and cut to `size`."""
    nothing = (np.empty((0, 0), np.int64), np.empty((0, 0), np.float32))
    cut = [merge((rows[:, :0], values[:, :0]), (rows, values), size) for rows, values in parts or [nothing]]
    width = max(rows.shape[1] for rows, _ in cut)

    def wide(table: AnyArray, fill: float) -> AnyArray:
        return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=fill)

    rows = np.concatenate([wide(rows, -1) for rows, _ in cut])
    values = np.concatenate([wide(values, -np.inf) for _, values in cut])
    return rows.astype(np.int64), values.astype(np.float32)


def _without_failed(blocks: Iterable[FloatArray], ok: BoolArray) -> Iterable[FloatArray]:
    first = 0
    for block in blocks:
        block[~ok[first : first + len(block)]] = np.nan
        first += len(block)
        yield block


def _check_pair(query: Store, gallery: Gallery, *, exclude_self: bool) -> None:
    lines = differences(query, gallery.stores[0])
    if lines:
        raise StoreError(
            f"{query.storage.uri} and {gallery.uri} cannot be compared: {'; '.join(lines)}",
            "extract queries and gallery with equal settings",
        )
    if exclude_self and gallery.manifest_digest != query.meta.manifest_digest:
        raise StoreError(
            f"exclude_self=true, but {gallery.uri} is another list than {query.storage.uri}",
            "pass the same store as query and gallery",
        )
