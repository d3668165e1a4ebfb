"""Query features in, ranked images out: exact global neighbours, then the shortlist compared one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError
from ames_ray.retrieval.block import Block
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import BLOCK_ROWS, nearest
from ames_ray.retrieval.pooled import pooled_rows, pooled_width
from ames_ray.search.places import find_places
from ames_ray.search.results import Agreement, Hit, SearchResult
from ames_ray.store.codec import as_stored
from ames_ray.types import FeatureBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ames_ray.search.comparison import Comparison
    from ames_ray.search.match import Matches
    from ames_ray.search.places import Places
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray, ImageFeatures, IntArray

_READ_ROWS = 200
"""Images that are read and compared at once."""
_SHOWN_MATCHES = 60
"""Agreeing places that are kept of an image."""
_HELD_BYTES = 1 << 30
"""Global descriptors up to this size stay in memory between searches."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How much is looked at and shown.

    Attributes:
        pooled: Global descriptor of the first ranking.
        num_results: Images to return of a query.
        num_rerank: Images at the head of the first ranking to compare; 0 keeps its order.
        query_desc_num: Local descriptors used of a query, at most.
        db_desc_num: Local descriptors used of a gallery image, at most.

    Raises:
        ConfigError: A number is out of range.
    """

    pooled: str = "global"
    num_results: int = 50
    num_rerank: int = 100
    query_desc_num: int = 600
    db_desc_num: int = 600

    def __post_init__(self) -> None:
        for name, least in (("num_results", 1), ("num_rerank", 0), ("query_desc_num", 1), ("db_desc_num", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: allowed are whole numbers from {least}")


class Searcher:
    """Searches one store.

    Args:
        store: The gallery.
        comparison: What re-ranks.
        options: How much, where a search does not say.

    Attributes:
        comparison: What re-ranks.
        options: How much, where a search does not say.

    Raises:
        StoreError: The store lacks the global descriptor, or the comparison cannot take it.
    """

    def __init__(self, store: Store, comparison: Comparison, options: SearchOptions) -> None:
        self._width = pooled_width((store,), options.pooled)
        if options.num_rerank:
            comparison.check(store)
        self._store = store
        self._gallery = Gallery((store,))
        self.comparison = comparison
        self.options = options

    def __call__(
        self, queries: Sequence[ImageFeatures], options: SearchOptions | None = None
    ) -> list[SearchResult]:
        """Results of each query, in order; a failed one has none. `options` may differ but in `pooled`."""
        options = options or self.options
        good = [query for query in queries if query.ok]
        pooled = np.empty((len(good), self._width), np.float32)
        for vector, query in zip(pooled, good, strict=True):
            vector[:] = query.pooled[self.options.pooled]
        size = max(options.num_results, options.num_rerank)
        rows, similarities = nearest(pooled, self._blocks(), size)
        found = iter(zip(good, rows, similarities, strict=True))
        return [self._search(options, *next(found)) if query.ok else SearchResult(query) for query in queries]

    def _search(
        self, options: SearchOptions, query: ImageFeatures, rows: IntArray, similarities: FloatArray
    ) -> SearchResult:
        real = rows >= 0
        rows, similarities = rows[real], similarities[real]
        head = min(options.num_rerank, len(rows))
        mine = self._query_batch(query, options.query_desc_num)
        count = min(options.db_desc_num, self._store.meta.topk)
        scores = self._scores(mine, rows[:head], similarities[:head], count)
        order = np.concatenate([np.argsort(-scores, kind="stable"), np.arange(head, len(rows))]).astype(int)
        shown = [p for rank, p in enumerate(order) if min(rank, p) < options.num_results]
        agreements = self._agreements(query, mine, rows, [p for p in shown if p < head], count)
        ranks = {int(position): rank for rank, position in enumerate(order, 1)}
        hits = tuple(
            Hit(
                record=self._store.manifest.record(int(rows[p])),
                rank=ranks[int(p)],
                before=int(p) + 1,
                similarity=float(similarities[p]),
                score=float(scores[p]) if p < head else None,
                agreement=agreements.get(int(p)),
            )
            for p in shown
        )
        return SearchResult(query, hits, options.num_results)

    def _query_batch(self, query: ImageFeatures, count: int) -> FeatureBatch:
        """The query as a store would give it back: rounded alike, so that both ways give equal scores."""
        if query.local is None:
            raise ValueError("a failed query has no descriptors")
        found = as_stored(query.local.top(count).descriptors, self._store.meta.codec)
        return FeatureBatch(np.zeros(1, np.int64), found[None], np.ones((1, len(found)), np.bool_))

    def _scores(
        self, mine: FeatureBatch, rows: IntArray, similarities: FloatArray, count: int
    ) -> NDArray[np.float64]:
        """Scores of some rows, read some at a time: a long list does not have to fit in memory."""
        found = [np.empty(0)]
        for start in range(0, len(rows), _READ_ROWS):
            part = slice(start, start + _READ_ROWS)
            images = self._gallery.read(rows[part], count)
            found.append(self.comparison.scores(mine, images, similarities[part]))
        return np.concatenate(found)

    def _agreements(
        self, query: ImageFeatures, mine: FeatureBatch, rows: IntArray, positions: Sequence[int], count: int
    ) -> dict[int, Agreement]:
        """Why, for some positions of a list, by position."""
        if query.local is None:
            return {}
        found = {}
        for start in range(0, len(positions), _READ_ROWS):
            part = np.asarray(positions[start : start + _READ_ROWS])
            images = self._gallery.read(rows[part], count)
            places = find_places(self._store, rows[part])
            for position, matches in zip(part.tolist(), self.comparison.matches(mine, images), strict=True):
                found[position] = self._agreement(query.local.xy, matches, places[int(rows[position])])
        return found

    def _agreement(self, query_xy: FloatArray, found: Matches, places: Places) -> Agreement:
        kept = slice(_SHOWN_MATCHES)
        return Agreement(
            query_xy[found.query[kept]],
            places.xy[found.image[kept]],
            found.strength[kept],
            len(found),
            (places.width, places.height),
        )

    def _blocks(self) -> Iterable[Block]:
        small = 4 * self._store.meta.rows * self._width <= _HELD_BYTES
        return self._held if small else self._read_blocks()

    @cached_property
    def _held(self) -> list[Block]:
        return list(self._read_blocks())

    def _read_blocks(self) -> Iterator[Block]:
        for start in range(0, self._store.meta.rows, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, self._store.meta.rows)
            yield Block.of(pooled_rows(self._gallery, self.options.pooled, start, stop), start)
