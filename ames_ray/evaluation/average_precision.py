"""Average precision and precision at k, of all queries of a setup at once, from the ranks of positives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ames_ray.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SetupRanks:
    """Ranks of the positives of every query in one setup, one query behind the other.

    Attributes:
        ranks: (N,) int64 ranks from 0, ascending within a query, counted without the ignored images.
        query: (N,) int64, the query of each rank, ascending.
        found: (N,) int64, how many positives of the same query stand before each.
        ranked: (Q,) int64, images in each query's ranking without the ignored ones.
        denominator: (Q,) float64, what a query's sum of precisions is divided by; NaN: no positives.
    """

    ranks: IntArray
    query: IntArray
    found: IntArray
    ranked: IntArray
    denominator: NDArray[np.float64]


def precision_terms(found: IntArray, ranks: IntArray, cutoff: int) -> NDArray[np.float64]:
    """What each positive adds to the average precision, before the division.

    Args:
        found: Positives that stand before it; any shape.
        ranks: Its rank from 0; the same shape.
        cutoff: 0: the mean of the precision before, found / rank (1 at rank 0), and after it,
            (found + 1) / (rank + 1): the trapezoid rule of Revisited Oxford and Paris. Above 0: the precision
            after it if its rank is below `cutoff`, else 0: mAP@100 of Google Landmarks.
    """
    after = (found + 1) / (ranks + 1)
    if cutoff:
        return np.where(ranks < cutoff, after, 0.0)
    before = np.where(ranks > 0, found / np.maximum(ranks, 1), 1.0)
    return (before + after) / 2


def average_precision(setup: SetupRanks, cutoff: int) -> NDArray[np.float64]:
    """(Q,) average precision of each query; NaN where it has no positives. `cutoff`: `precision_terms`."""
    terms = precision_terms(setup.found, setup.ranks, cutoff)
    return np.bincount(setup.query, terms, len(setup.denominator)) / setup.denominator


def precision_at(setup: SetupRanks, ks: Sequence[int]) -> list[NDArray[np.float64]]:
    """For each k, (Q,) share of positives among the first k; NaN where a query has no positives.

    As in the Revisited evaluator k is cut at the last positive of the ranking: |1-based ranks ≤ kq| / kq with
    kq = min(last rank, k). It is 0 where the ranking holds no positive.
    """
    queries = len(setup.denominator)
    last = np.flatnonzero(np.diff(setup.query, append=queries))
    without = np.isnan(setup.denominator)
    shares = []
    for k in ks:
        cut = np.full(queries, k)
        cut[setup.query[last]] = np.minimum(setup.ranks[last] + 1, k)
        # No rank is beyond the last one, so those below k are those below the cut.
        hits = np.bincount(setup.query[setup.ranks < k], minlength=queries)
        shares.append(np.where(without, np.nan, hits / cut))
    return shares
