"""Exact nearest neighbours by inner product, for any gallery size and any length of the list.

A task is a group of queries against a block of gallery rows. Memory depends on the sizes of both and on the
lists alone, never on queries × gallery. Tasks are fixed by the number of rows, equal similarities are ordered
by row, and lists are merged in the order of the blocks, so that neither duplicates in a gallery nor another
number of workers can change a list.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError, StoreError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.block import QUERY_ROWS, Best, Block, block_neighbors, stacked
from ames_ray.retrieval.crew import in_order, threads
from ames_ray.retrieval.gallery import Gallery, differences
from ames_ray.retrieval.pooled import pooled_rows, pooled_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ames_ray.retrieval.block import Lists
    from ames_ray.retrieval.crew import Hire
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray, IntArray

BLOCK_ROWS = 16_384
"""Gallery rows of a block: 50 MB of 768 float32."""
GROUP_QUERIES = 4_096
"""Queries of a group, at most."""
GROUP_VALUES = 2_000_000
"""Similarities that a task may find: 24 MB with their rows."""
_HERE = min(8, len(os.sched_getaffinity(0)))
"""Threads in this process; each keeps a block."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One task.

    Attributes:
        first: Number of the group's first query.
        queries: (G, D) float32; one that is not finite finds nothing.
        start: First gallery row of the block.
        stop: The row after its last one.
        bar: (G,) float32 similarities to exceed: the last one of each full list so far.
    """

    first: int
    queries: FloatArray
    start: int
    stop: int
    bar: FloatArray


class BlockSearch:
    """What a worker does with a task; it keeps the block that it read last.

    Args:
        gallery: One or more stores.
        pooled: Name of the global descriptor.
        size: Length of a list, or none.
        exclude_self: Gallery row i is query i, and is not its own neighbour.
    """

    def __init__(self, gallery: Gallery, pooled: str, size: int | None, *, exclude_self: bool) -> None:
        self._gallery = gallery
        self._pooled = pooled
        self._size = size
        self._exclude_self = exclude_self
        self._range = (0, 0)
        self._block = Block.of(np.empty((0, 0), np.float32), 0)

    def __call__(self, task: Search) -> Lists:
        """The rows of the block that may be among the nearest."""
        if self._range != (task.start, task.stop):
            values = pooled_rows(self._gallery, self._pooled, task.start, task.stop)
            self._range, self._block = (task.start, task.stop), Block.of(values, task.start)
        itself = task.first if self._exclude_self else None
        return block_neighbors(task.queries, self._block, self._size, task.bar, itself)


def find_neighbors(
    query: Store,
    gallery: Gallery,
    pooled: str,
    shortlist_size: int | None,
    *,
    exclude_self: bool = False,
    hire: Hire | None = None,
) -> Shortlist:
    """The gallery images nearest to each query.

    Failed rows and descriptors that are not finite are nobody's neighbours and have none. A gallery of fewer
    images than `shortlist_size` gives shorter lists.

    Args:
        query: Store of the queries.
        gallery: One or more stores.
        pooled: Name of the global descriptor.
        shortlist_size: Length K of a list; none for the whole gallery.
        exclude_self: The gallery is the query list, and no image is its own neighbour.
        hire: Workers; none for threads of this process.

    Raises:
        ConfigError: `shortlist_size` is not positive.
        StoreError: A store lacks the descriptor; the stores were not made with equal settings; or
            `exclude_self` is set and the lists differ.
    """
    check_size(shortlist_size)
    check_pair(query, gallery, pooled, exclude_self=exclude_self)
    size = max(1, min(shortlist_size or len(gallery), len(gallery)))
    queries = pooled_rows(Gallery((query,)), pooled, 0, query.meta.rows)
    group = max(1, min(GROUP_QUERIES, GROUP_VALUES // min(size, BLOCK_ROWS)) // QUERY_ROWS) * QUERY_ROWS
    best = {first: Best(min(group, len(queries) - first), size) for first in range(0, len(queries), group)}
    make = partial(BlockSearch, gallery, pooled, size, exclude_self=exclude_self)
    with (hire or threads(_HERE))(make) as crew:
        for task, found in in_order(crew, _tasks(queries, len(gallery), best, crew.size)):
            best[task.first].add(found)
    rows, similarities = stacked([each.lists() for each in best.values()])
    similarities[rows < 0] = np.nan
    made = {"descriptor": pooled, "index": "exact", "exclude_self": exclude_self}
    return Shortlist(rows, similarities, query.meta.manifest_digest, gallery.manifest_digest, made)


def nearest(queries: FloatArray, gallery: Iterable[Block], size: int | None) -> tuple[IntArray, FloatArray]:
    """The `size` gallery rows with the largest inner products, best first; of equal ones the lower row.

    Args:
        queries: (Q, D) float32. A query that is not finite has no neighbours.
        gallery: Blocks in ascending order of their rows.
        size: Length K of a list, or none for the whole gallery; a gallery of fewer rows gives shorter lists.

    Returns:
        (Q, K) int64 rows, -1 where there are no more; (Q, K) float32 similarities, NaN there.

    Raises:
        ConfigError: `size` is not positive.
        DatasetError: Descriptors of another width than the queries'.
    """
    check_size(size)
    best = Best(len(queries), size)
    for block in gallery:
        best.add(block_neighbors(queries, block, size, best.bar))
    rows, similarities = best.lists()
    similarities[rows < 0] = np.nan
    return rows, similarities


def _tasks(
    queries: FloatArray, rows: int, best: dict[int, Best], workers: int
) -> Iterator[tuple[int, Search]]:
    """Every group against every block, with the worker that has the block; blocks of a group in order."""
    starts = range(0, rows, BLOCK_ROWS)
    for turn in range(0, len(starts), workers):
        for first, known in best.items():
            group = queries[first : first + len(known)]
            for worker, start in enumerate(starts[turn : turn + workers]):
                stop = min(start + BLOCK_ROWS, rows)
                yield worker, Search(first, group, start, stop, known.bar)


def check_size(shortlist_size: int | None) -> None:
    """Refuse lists of no length.

    Raises:
        ConfigError: It is not positive.
    """
    if shortlist_size is not None and shortlist_size < 1:
        raise ConfigError(
            f"shortlist_size={shortlist_size}: allowed are whole numbers from 1, or null for all"
        )


def check_pair(query: Store, gallery: Gallery, pooled: str, *, exclude_self: bool) -> None:
    """Refuse stores that cannot be compared.

    Raises:
        StoreError: They were not made with equal settings, or lack the descriptor; or `exclude_self` is set
            and the lists differ.
    """
    lines = differences(query, gallery.stores[0])
    if lines:
        raise StoreError(
            f"{query.storage.uri} and {gallery.uri} cannot be compared: {'; '.join(lines)}",
            "extract queries and gallery with equal settings",
        )
    pooled_width((query, *gallery.stores), pooled)
    if exclude_self and gallery.manifest_digest != query.meta.manifest_digest:
        raise StoreError(
            f"exclude_self=true, but {gallery.uri} is another list than {query.storage.uri}",
            "pass the same store as query and gallery",
        )
