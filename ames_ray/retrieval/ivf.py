"""Approximate neighbours for tens of millions of images: an inverted file of float16 descriptors in memory.

Cells are found by k-means over a bounded sample, a query looks into the nearest ones. Two bytes a number, so
ten million images of 768 take 15 GB; similarities are those of the rounded descriptors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import ConfigError, StoreError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import BLOCK_ROWS, check_pair, check_size
from ames_ray.retrieval.pooled import pooled_rows

if TYPE_CHECKING:
    from ames_ray.retrieval.block import Lists
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray, IntArray

_SEED = 0
_MOST_CELLS = 8_192
_ROWS_PER_CELL = 64
"""Rows of the sample for each cell: 1.6 GB for the most cells and 768 numbers."""
_SAMPLE_RANGE = 64
"""The sample is made of ranges of rows, because a shard is read as a whole."""
_GROUP = 1_024
"""Queries that are searched at once."""


def approximate_neighbors(
    query: Store,
    gallery: Gallery,
    pooled: str,
    shortlist_size: int | None,
    nprobe: int,
    *,
    exclude_self: bool = False,
) -> Shortlist:
    """Gallery images near to each query; see `ames_ray.retrieval.neighbors.find_neighbors`.

    Args:
        query: Store of the queries.
        gallery: One or more stores.
        pooled: Name of the global descriptor.
        shortlist_size: Length K of a list; lists are shorter where the cells hold fewer images.
        nprobe: Cells that a query looks into. More are slower and miss less; all of them miss nothing.
        exclude_self: The gallery is the query list, and no image is its own neighbour.

    Raises:
        ConfigError: `shortlist_size` is none or not positive.
        StoreError: See `find_neighbors`.
    """
    if shortlist_size is None:
        raise ConfigError(
            "index=ivf finds lists of a fixed length, and the whole gallery is asked for",
            "pass index=exact; a revisited protocol ranks every image",
        )
    check_size(shortlist_size)
    check_pair(query, gallery, pooled, exclude_self=exclude_self)
    index = _build(gallery, pooled)
    index.nprobe = min(nprobe, index.nlist)
    queries = pooled_rows(Gallery((query,)), pooled, 0, query.meta.rows)
    rows = np.full((len(queries), shortlist_size), -1, np.int64)
    similarities = np.full(rows.shape, np.nan, np.float32)
    usable = np.flatnonzero(np.isfinite(queries).all(axis=1))
    for start in range(0, len(usable), _GROUP):
        part = usable[start : start + _GROUP]
        itself = part if exclude_self else None
        rows[part], similarities[part] = _search(index, queries[part], shortlist_size, itself)
    made = {
        "descriptor": pooled,
        "index": "ivf",
        "cells": index.nlist,
        "nprobe": index.nprobe,
        "exclude_self": exclude_self,
    }
    return Shortlist(rows, similarities, query.meta.manifest_digest, gallery.manifest_digest, made)


def _build(gallery: Gallery, pooled: str) -> Any:
    """The index of all usable rows, under their own numbers."""
    import faiss

    total = len(gallery)
    cells = max(1, min(4 * math.isqrt(total), total // _ROWS_PER_CELL, _MOST_CELLS))
    sample = _sample(gallery, pooled, cells * _ROWS_PER_CELL)
    width = sample.shape[1]
    cells = max(1, min(cells, len(sample)))
    fp16, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    # Not by residuals: float16 is fine enough without, and sums of centre and rest take longer to compare.
    index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(width), width, cells, fp16, product, False)
    index.cp.seed, index.cp.spherical, index.cp.min_points_per_centroid = _SEED, True, 1
    index.train(sample)
    for start in range(0, total, BLOCK_ROWS):
        values = pooled_rows(gallery, pooled, start, min(start + BLOCK_ROWS, total))
        usable = np.flatnonzero(np.isfinite(values).all(axis=1))
        index.add_with_ids(values[usable], start + usable)
    return index


def _sample(gallery: Gallery, pooled: str, rows: int) -> FloatArray:
    """About so many usable rows, the same ones every time."""
    total = len(gallery)
    ranges = np.random.default_rng(_SEED).permutation(-(-total // _SAMPLE_RANGE))[: -(-rows // _SAMPLE_RANGE)]
    starts = (np.sort(ranges) * _SAMPLE_RANGE).tolist()
    values = np.concatenate(
        [pooled_rows(gallery, pooled, start, min(start + _SAMPLE_RANGE, total)) for start in starts]
    )
    usable: FloatArray = values[np.isfinite(values).all(axis=1)]
    if not len(usable):
        raise StoreError(f"none of {len(values):,} rows of {gallery.uri} has a usable {pooled!r}")
    return usable


def _search(index: Any, queries: FloatArray, size: int, itself: IntArray | None) -> Lists:
    """Lists of some queries, ordered as exact ones are: of equal similarities the lower row first."""
    similarities, rows = index.search(queries, size + (itself is not None))
    similarities[rows < 0] = -np.inf
    if itself is not None:
        similarities[rows == itself[:, None]] = -np.inf
        rows[rows == itself[:, None]] = -1
    order = np.lexsort((rows, -similarities), axis=1)[:, :size]
    rows, similarities = (np.take_along_axis(values, order, 1) for values in (rows, similarities))
    similarities[rows < 0] = np.nan
    return rows, similarities
